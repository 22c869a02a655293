"""rclip, the peer that people compare with: from the package index, in an environment of its own.

Its published model cannot be fetched everywhere, so it gets one of the same size and of random
weights, exported to ONNX. It indexes pictures itself, or is given vectors.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.libraries import path_of
from bench.peer import random_vit
from bench.vectors import DIMENSION, Clustered
from bench.workplace import Ran, folder_of, kept, run_process

VERSION = "3.3.0"
# Where rclip looks for its one model, and what that expects: 256 pixels, 77 tokens.
MODEL_FOLDER = "ViT-B-32-256-datacomp_s34b_b86k"
MODEL_PX, N_TOKENS = 256, 77
_FILL = """
import sys, numpy as np
from rclip import db
database = db.DB(sys.argv[1])
names = open(sys.argv[2]).read().split()
vectors = np.load(sys.argv[3], mmap_mode="r")
for name, vector in zip(names, vectors):
    database.upsert_image(db.NewImage(filepath=name, modified_at=0, size=1,
        vector=vector.astype(np.float32).tobytes(), hash=None), commit=False)
database.commit()
"""


class Rclip:
    """An installation with a model. `data` is where it keeps its database; each has its own."""

    def __init__(self, environment: Path, data: Path) -> None:
        self.environment = environment
        self.python = environment / "bin" / "python"
        self.data = data
        self.database = data / "db.sqlite3"

    def seconds(self, pictures: Path, *, index: bool, query: str = "a dog") -> float:
        """The seconds of one process that answers a query, and indexes the pictures before.

        Raises CalledProcessError if it fails.
        """
        command = [str(self.environment / "bin" / "rclip"), query, "--filepath-only"]
        command += [] if index else ["--no-indexing"]
        began = time.perf_counter()
        environment = os.environ | self._settings
        subprocess.run(command, cwd=pictures, env=environment, check=True, capture_output=True)
        return time.perf_counter() - began

    def query(self, words: str) -> Ran:
        """One process that answers a query over all that is in the database."""
        # It looks at the pictures below the working folder, and all paths are below the root.
        program = "import os, sys; os.chdir('/'); from rclip.main import main; main()"
        return run_process([self.python, "-c", program, "--no-indexing", words], self._settings)

    def forget(self) -> None:
        """Start again with an empty database."""
        for path in self.data.glob("db.sqlite3*"):
            path.unlink()

    @property
    def _settings(self) -> dict[str, str]:
        return {"RCLIP_DATADIR": str(self.data), "HF_HUB_OFFLINE": "1"}


def install(model: Any, data: Path) -> Rclip:
    """rclip with an open_clip model of 256 pixels as its own, and its database in `data`.

    Needs the package index the first time. Raises CalledProcessError where that cannot be reached.
    """
    peer = Rclip(folder_of("rclip-environment"), data)
    if not (peer.environment / "bin" / "rclip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(peer.environment)], check=True)
        quiet = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([str(peer.python), *quiet, f"rclip=={VERSION}"], check=True)
    exported = folder_of("rclip-model")
    export(model, exported)
    if not (data / MODEL_FOLDER).exists():
        (data / MODEL_FOLDER).symlink_to(exported)
    _copy_merges(data / "tokenizer")
    return peer


def prepared(count: int) -> Rclip | None:
    """rclip with a database of that many made-up vectors; None where it cannot be installed."""
    data = folder_of(f"rclip-{count}")
    try:
        peer = install(random_vit(MODEL_PX), data)
    except subprocess.CalledProcessError:
        return None
    kept(f"rclip-{count}", lambda: _fill(peer, count))
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
                str(folder / f"{name}.part"),
                input_names=["input"],
                output_names=["output"],
                dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
                dynamo=False,
            )
        os.replace(folder / f"{name}.part", folder / name)


class _Tower(torch.nn.Module):
    """One of the model's two methods as a module, which is what can be exported."""

    def __init__(self, model: Any, encode: Any) -> None:
        super().__init__()
        self.model = model
        self.encode = encode

    def forward(self, values: torch.Tensor) -> Any:
        return self.encode(values)


def _fill(peer: Rclip, count: int) -> dict[str, Any]:
    peer.forget()
    names, vectors = peer.data / "names.txt", peer.data / "vectors.npy"
    names.write_text("\n".join(map(path_of, range(count))))
    stored = np.lib.format.open_memmap(vectors, "w+", np.float16, (count, DIMENSION))
    filled = 0
    for block in Clustered(count).blocks():
        stored[filled : filled + len(block)] = block
        filled += len(block)
    stored.flush()
    files = [str(peer.database), str(names), str(vectors)]
    subprocess.run([str(peer.python), "-c", _FILL, *files], check=True)
    names.unlink()
    vectors.unlink()
    return {"count": count}


def _copy_merges(folder: Path) -> None:
    import open_clip.tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    source = Path(open_clip.tokenizer.default_bpe())
    (folder / source.name).write_bytes(source.read_bytes())
