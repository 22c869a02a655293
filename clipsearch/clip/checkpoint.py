"""A weights file of any supported kind → a state dict with OpenAI's names, and its sizes.

Executes nothing from the file, and believes nothing that it says of its own size. Knows nothing of
where the file came from or of what becomes of the weights.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clipsearch.clip.config import ClipConfig
from clipsearch.clip.model import CLIP
from clipsearch.clip.names import is_transformers, openai_names
from clipsearch.clip.recipe import Recipe
from clipsearch.clip.shards import parts_of
from clipsearch.clip.torchscript import check_parts, check_sums, is_torchscript, read_torchscript
from clipsearch.errors import BrokenCheckpoint

KINDS = "a .safetensors file, a state dict of torch.save (torch 1.6 or newer), or OpenAI's .pt"

# Three numbers that OpenAI's archives hold beside the weights, and buffers that follow from the
# sizes.
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "attn_mask", "position_ids")

ZIP_MAGIC = b"PK\x03\x04"

UTF8_MARK = b"\xef\xbb\xbf"

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

REMEDY = "get it again from where it came from, or choose another model"

# What unpickling a damaged file has been seen to raise: the format is a program, and garbage does
# anything.
DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,  # also torch's own errors, and NotImplementedError of zipfile
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
)


def read_checkpoint(
    path: Path, recipe: Recipe | None = None
) -> tuple[ClipConfig, dict[str, Tensor]]:
    """Read a file into its sizes and exactly the tensors that a CLIP of these sizes has.

    Without a recipe heads are taken to be 64 wide and the activation QuickGELU, as in all that
    OpenAI published. Raises BrokenCheckpoint if the file is damaged, unsafe, of another kind or no
    CLIP, or if it does not fit the recipe.
    """
    weights = read_weights(path)
    try:
        if recipe is None and is_transformers(weights):
            raise BrokenCheckpoint("it comes from transformers, without its config.json beside it")
        weights = openai_names(weights)
        config = _config(weights, recipe or Recipe())
        return config, fit_weights(weights, config, drop_surplus=_is_archive(path))
    except (BrokenCheckpoint, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise BrokenCheckpoint(f"{path} cannot be used ({error}): {REMEDY}") from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file, or all that an index lists, as a state dict, whatever its names.

    Raises BrokenCheckpoint.
    """
    weights: dict[str, Tensor] = {}
    for part in parts_of(path):
        weights |= _read_part(part)
    return weights


def _read_part(path: Path) -> dict[str, Tensor]:
    try:
        if is_html(path):
            raise BrokenCheckpoint(
                f"{path} is a web page, not weights: download it again, or from another place"
            )
        weights = _without_wrapping(_read(path))
        _check_memory(weights, path.stat().st_size)
        return weights
    except SafetensorError as error:
        raise BrokenCheckpoint(_damaged(path, error)) from error
    except DAMAGE as error:
        raise BrokenCheckpoint(_damaged(path, error)) from error


def fit_weights(
    weights: Mapping[str, Tensor], config: ClipConfig, drop_surplus: bool = False
) -> dict[str, Tensor]:
    """Check names, shapes and numbers against a CLIP of these sizes, and drop what is no weight.

    Tensors that such a CLIP does not have are an error, or with `drop_surplus` left out.
    Raises BrokenCheckpoint, with a message that names the tensor but not the file.
    """
    wanted = _wanted(config)
    found = {
        name: tensor
        for name, tensor in weights.items()
        if name in wanted or not (drop_surplus or _is_spare(name))
    }
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):
            found.setdefault(name, torch.tensor(0))  # only training counts them
        if name == "logit_scale" and name in found and found[name].numel() == 1:
            found[name] = found[name].reshape(())
        fitting(name, found.get(name), tensor)
    surplus = sorted(found.keys() - wanted.keys())
    if surplus:
        raise BrokenCheckpoint(
            f"it holds {surplus[0]!r} and {len(surplus) - 1} more tensors that a CLIP of its"
            " sizes does not have"
        )
    return found


def fitting(name: str, found: Tensor | None, wanted: Tensor) -> Tensor:
    """The tensor itself, if it has the shape that is wanted and holds numbers.

    Raises BrokenCheckpoint, with a message that names the tensor but not the file.
    """
    if found is None:
        raise BrokenCheckpoint(
            f"the tensor {name!r} is missing, so it is no CLIP with OpenAI's names"
        )
    if found.shape != wanted.shape:
        raise BrokenCheckpoint(
            f"the tensor {name!r} has the shape {list(found.shape)} and not {list(wanted.shape)}"
        )
    if wanted.is_floating_point() and found.dtype not in FLOATS:
        kind = str(found.dtype).removeprefix("torch.")
        raise BrokenCheckpoint(f"the tensor {name!r} holds numbers of the kind {kind}")
    if not bool(torch.isfinite(found).all()):
        raise BrokenCheckpoint(f"the tensor {name!r} holds NaN or infinity")
    return found


def is_html(path: Path) -> bool:
    """Whether the file begins like a web page, which is what a failed download often leaves."""
    with path.open("rb") as file:
        return file.read(64).removeprefix(UTF8_MARK).lstrip()[:1] == b"<"


def _read(path: Path) -> object:
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(ZIP_MAGIC):
        check_parts(path)
        if is_torchscript(path):
            return read_torchscript(path)
        check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if start[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
        return load_file(path)
    raise ValueError("it begins like none of them")


def _is_archive(path: Path) -> bool:
    """In a TorchScript archive, attributes that are no weights look just like weights."""
    return zipfile.is_zipfile(path) and is_torchscript(path)


def _without_wrapping(content: object) -> dict[str, Tensor]:
    """Take the state dict out of a training checkpoint, and `module.` off its names."""
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content:
        raise ValueError("it holds no state dict")
    weights: dict[str, Tensor] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"its entry {name!r} is no tensor")
        weights[name.removeprefix("module.")] = tensor.detach()
    return weights


def _check_memory(weights: Mapping[str, Tensor], file_bytes: int) -> None:
    """A few bytes can pass for a tensor of any size, if its strides are zero."""
    total = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    if total > 2 * file_bytes:  # twice, because two tensors may well be the same one
        raise ValueError(f"its tensors claim {total:,} bytes in a file of {file_bytes:,}")


def _config(weights: Mapping[str, Tensor], recipe: Recipe) -> ClipConfig:
    config = ClipConfig.from_state_dict(
        weights, recipe.activation, recipe.vision_heads, recipe.text_heads
    )
    text, size = config.text, config.vision.image_size
    sizes = (config.embed_dim, size, config.vision.width, text.width, text.context_length)
    if not all((*sizes, text.vocab_size)):
        raise BrokenCheckpoint("a tensor that its sizes are read from is empty")
    if recipe.image_size not in (None, size):
        raise BrokenCheckpoint(
            f"its tensors are made for pictures of {size} px and its config for"
            f" {recipe.image_size} px"
        )
    _check_layers("image", config.vision.layers, recipe.vision_layers)
    _check_layers("text", config.text.layers, recipe.text_layers)
    return config


def _check_layers(tower: str, found: int | tuple[int, ...], wanted: object) -> None:
    shown = list(found) if isinstance(found, tuple) else found
    if wanted not in (None, shown):
        raise BrokenCheckpoint(f"its {tower} tower has {shown} layers and its config says {wanted}")


def _wanted(config: ClipConfig) -> dict[str, Tensor]:
    """Names and shapes without memory behind them."""
    with torch.device("meta"):
        return CLIP(config).state_dict()


def _is_spare(name: str) -> bool:
    return name.rpartition(".")[2] in NO_WEIGHTS


def _damaged(path: Path, error: BaseException) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "weights_only" in reason:  # torch goes on to say how to run what is in the file
        reason = "it holds more than tensors, which could be a program"
    return (
        f"{path} is damaged, unsafe or not {KINDS} ({reason[:200]}):"
        " get the file again, or in one of these formats"
    )
