"""`clipsearch index` over generated 12-megapixel JPEGs, as a command in a new process, with a ViT-B/32 of random weights."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.encode import _open_clip
from bench.photographs import write_photographs

PHOTOGRAPHS = 60


def run() -> dict[str, Any]:
    """Images per second by the command's own report and by the clock around the process."""
    import time

    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total = write_photographs(folder / "photographs", PHOTOGRAPHS)
        weights = folder / "vit-b-32.safetensors"
        save_file(
            {key: tensor.contiguous() for key, tensor in _open_clip().state_dict().items()}, weights
        )
        command = [
            sys.executable,
            "-m",
            "clipsearch",
            "--library",
            str(folder / "library"),
            "index",
            "--json",
        ]
        command += ["--model", str(weights), str(folder / "photographs")]
        # Once on nothing new but the model, so that its conversion is not counted.
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
    report = json.loads(done.stdout)
    return {
        "what": f"clipsearch index, {PHOTOGRAPHS} generated JPEGs of 4000x3000",
        "megabytes_per_file": round(total / PHOTOGRAPHS / 1e6, 2),
        "images_per_second": round(report["images_per_second"], 1),
        "seconds_with_start_of_process_and_model": round(seconds, 1),
        "added": report["added"],
    }
