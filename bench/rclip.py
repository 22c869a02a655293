"""rclip as a peer: installed into an environment of its own, with the same vectors and a model of
the same size, exported to ONNX in the layout that it expects."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.libraries import path_of
from bench.peer import random_vit
from bench.vectors import Clustered
from bench.workplace import Ran, folder_of, kept, run_process

VERSION = "3.3.0"
MODEL = "ViT-B-32-256-datacomp_s34b_b86k"  # the name that it looks for, not what is in there
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


@dataclass(frozen=True)
class Peer:
    python: Path
    data: Path

    def query(self, words: str) -> Ran:
        # It looks at the pictures below the working folder, and all paths are below the root.
        program = "import os, sys; os.chdir('/'); from rclip.main import main; main()"
        command: list[str | Path] = [self.python, "-c", program, "--no-indexing", words]
        return run_process(command, {"RCLIP_DATADIR": str(self.data), "HF_HUB_OFFLINE": "1"})


def prepared(count: int) -> Peer | None:
    """rclip with a database of that many vectors; None where it cannot be installed."""
    python = _installed()
    if python is None:
        return None
    data = folder_of(f"rclip-{count}")
    kept(f"rclip-{count}", lambda: _fill(python, data, count))
    return Peer(python, data)


def _installed() -> Path | None:
    folder = folder_of("rclip-venv")
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        if subprocess.run(
            [str(python), "-c", "import rclip"], stderr=subprocess.DEVNULL
        ).returncode:
            command = [str(python), "-m", "pip", "install", "--quiet", f"rclip=={VERSION}"]
            subprocess.run(command, check=True)
    except subprocess.CalledProcessError:
        return None
    return python


def _fill(python: Path, data: Path, count: int) -> dict[str, Any]:
    import numpy as np

    _export(data)
    (data / "db.sqlite3").unlink(missing_ok=True)
    names, vectors = data / "names.txt", data / "vectors.npy"
    names.write_text("\n".join(map(path_of, range(count))))
    stored = np.lib.format.open_memmap(vectors, "w+", np.float16, (count, Clustered(1).dimension))
    filled = 0
    for block in Clustered(count).blocks():
        stored[filled : filled + len(block)] = block
        filled += len(block)
    stored.flush()
    files = [str(data / "db.sqlite3"), str(names), str(vectors)]
    subprocess.run([str(python), "-c", _FILL, *files], check=True)
    names.unlink()
    vectors.unlink()
    return {"count": count}


def _export(data: Path) -> None:
    """The text and the picture tower of the random ViT-B/32, and the merges."""
    import shutil

    import open_clip
    import torch

    folder = data / MODEL
    folder.mkdir(exist_ok=True)
    model = random_vit().requires_grad_(False)

    class Text(torch.nn.Module):
        def forward(self, tokens: Any) -> Any:
            return model.encode_text(tokens)

    class Visual(torch.nn.Module):
        def forward(self, pixels: Any) -> Any:
            return model.encode_image(pixels)

    towers = {
        "textual": (Text(), torch.zeros((1, 77), dtype=torch.int64)),
        "visual": (Visual(), torch.zeros((1, 3, 224, 224))),
    }
    torch.backends.mha.set_fastpath_enabled(False)  # one operation that ONNX does not know
    for name, (tower, example) in towers.items():
        torch.onnx.export(
            tower.eval(),
            (example,),
            str(folder / f"{name}.onnx"),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
            dynamo=False,
        )
    merges = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    (data / "tokenizer").mkdir(exist_ok=True)
    shutil.copy(merges, data / "tokenizer" / merges.name)
    (data / "exported.json").write_text(json.dumps({"model": "ViT-B/32, random weights"}))
