"""rclip, the peer that people compare with: from the package index, in an environment of its own.

Its published model cannot be fetched everywhere, so it gets one of the same size and of random
weights, exported to ONNX: the same weights that clipsearch reads in the same run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch

VERSION = "3.3.0"
# Where rclip looks for its one model, and what that expects: 256 pixels, 77 tokens.
MODEL_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
MODEL_PX, N_TOKENS = 256, 77


class Rclip:
    """An installation with a model. `data` is where it keeps its database; each has its own."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "environment" / "bin" / "rclip"
        self.data = folder / "data"
        self.database = self.data / "db.sqlite3"

    def seconds(self, pictures: Path, *, index: bool, query: str = "a dog") -> float:
        """The seconds of one process that answers a query, and indexes the pictures before.

        Raises CalledProcessError if it fails.
        """
        command = [str(self.program), query, "--filepath-only"]
        command += [] if index else ["--no-indexing"]
        environment = os.environ | {"RCLIP_DATADIR": str(self.data), "HF_HUB_OFFLINE": "1"}
        began = time.perf_counter()
        subprocess.run(command, cwd=pictures, env=environment, check=True, capture_output=True)
        return time.perf_counter() - began

    def forget(self) -> None:
        """Start again with an empty database."""
        for path in self.data.glob("db.sqlite3*"):
            path.unlink()


def install(folder: Path, model: Any) -> Rclip:
    """rclip in `folder`, with an open_clip model of 256 pixels as its own.

    Needs the package index the first time. Raises CalledProcessError where that cannot be reached.
    """
    peer = Rclip(folder)
    if not peer.program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "environment")], check=True)
        python = str(folder / "environment" / "bin" / "python")
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([python, *quiet, f"rclip=={VERSION}"], check=True)
    export(model, peer.data / MODEL_FOLDER)
    _copy_merges(peer.data / "tokenizer")
    return peer


def export(model: Any, folder: Path, size_px: int = MODEL_PX) -> None:
    """Write both towers as ONNX, batches of any size, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = torch.zeros(2, 3, size_px, size_px)
    tokens = torch.zeros(2, N_TOKENS, dtype=torch.int64)
    for name, encode, example in (
        ("visual.onnx", model.encode_image, pixels),
        ("textual.onnx", model.encode_text, tokens),
    ):
        if (folder / name).exists():
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the older exporter, which needs no more than this
            torch.onnx.export(
                _Tower(model, encode),
                (example,),
                str(folder / name),
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
                dynamo=False,
            )


class _Tower(torch.nn.Module):
    """One of the model's two methods as a module, which is what can be exported."""

    def __init__(self, model: Any, encode: Any) -> None:
        super().__init__()
        self.model = model
        self.encode = encode

    def forward(self, values: torch.Tensor) -> Any:
        return self.encode(values)


def _copy_merges(folder: Path) -> None:
    import open_clip.tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    source = Path(open_clip.tokenizer.default_bpe())
    (folder / source.name).write_bytes(source.read_bytes())
