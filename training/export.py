"""Turn a training run into the bundle that ships: `python -m training.export --run runs/mini`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from clipsearch.clip.bundle import save_bundle, to_half
from clipsearch.clip.manifest import Manifest
from clipsearch.clip.preprocess import Preprocess
from clipsearch.clip.tokenizer import Tokenizer
from training.concepts import load_concepts
from training.plan import mini_config

FOLDER = Path("clipsearch/clip/mini")
VOCABULARY = Path("training/VOCABULARY.md")


def export(run: Path, folder: Path) -> Manifest:
    """Write the run's last checkpoint as a bundle and return its manifest.

    Matrices are halved, which costs no accuracy that the evaluation could see.
    """
    saved = torch.load(run / "last.pt", map_location="cpu", weights_only=True)
    plan = json.loads((run / "plan.json").read_text(encoding="utf-8"))
    merges = run / "merges.txt.gz"
    config = mini_config(Tokenizer.from_file(merges).vocab_size)
    description = (
        f"Knows drawn things, not photographs. Trained by this repository: seed {plan['seed']},"
        f" {saved['step']} steps of {plan['batch']} scenes drawn from Noto Color Emoji."
    )
    preprocess = Preprocess(config.vision.image_size).to_dict()
    manifest = Manifest("mini", config, preprocess, description=description)
    return save_bundle(folder, to_half(saved["model"]), merges, manifest)


def write_vocabulary(path: Path) -> None:
    """List every name that mini was taught, by Unicode's groups."""
    lines = ["# What mini was taught", ""]
    lines += ["Written by `python -m training.export`; Unicode's names, by its groups.", ""]
    groups: dict[str, list[str]] = {}
    for concept in load_concepts():
        groups.setdefault(concept.subgroup, []).append(concept.name)
    for group, names in groups.items():
        lines += [f"**{group}**: {', '.join(names)}", ""]
    path.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Write the bundle and the list, and say how large the bundle is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/mini"))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    manifest = export(options.run, options.folder)
    write_vocabulary(VOCABULARY)
    size = sum(path.stat().st_size for path in options.folder.iterdir())
    print(f"{options.folder}: {size / 1e6:.2f} MB, SHA-256 {manifest.source_sha256}")


if __name__ == "__main__":
    main()
