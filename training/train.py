"""Train `mini`. `python -m training.train --run runs/mini --steps N --decay-steps M`; a killed run goes on where it was.

Loss: CLIP's symmetric contrastive loss over scenes and captions, plus the cross-entropy of every scene against the
names of all concepts. The learning rate warms up, stays, and falls to zero over the last steps
(warm-up-stable-decay, Hu et al. 2024, arXiv 2404.06395), so that a run can be ended early without having planned it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipsearch.clip.model import CLIP, ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.tokenizer import Tokenizer
from training.bpe import count_words, learn_merges, save_merges
from training.captions import caption, name_prompt
from training.concepts import Concept, load_concepts
from training.glyphs import draw_sprites
from training.scenes import Painter, Stream, generator
from training.stream import CAPTIONS_PER_SCENE, SHARD, Shard, StreamSpec, shards

MAX_MERGES = 4096
NAME_LENGTH = 14  # tokens that any concept's name fits into
RESERVOIR = 60_000  # scenes kept for another showing: drawing one costs a third of learning from it
PROMPTS_PER_CONCEPT = 8
MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None] * 255
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None] * 255


@dataclass(frozen=True)
class Plan:
    """Everything a run depends on, written beside its checkpoints."""

    seed: int = 20261121
    steps: int = 20_000
    decay_steps: int = 4_000
    warmup_steps: int = 400
    batch: int = 256
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    name_weight: float = 2.0
    name_every: int = 2  # steps; in the others the text tower learns nothing from names, which saves a fifth of a step
    fresh_share: float = 0.5


def mini_config(vocab_size: int) -> ClipConfig:
    """The sizes of `mini`. A small ModifiedResNet learns from a tenth of the pictures that a small ViT needs."""
    vision = VisionConfig(image_size=96, layers=(2, 3, 4, 2), width=24, patch_size=None)
    text = TextConfig(context_length=32, vocab_size=vocab_size, width=128, layers=3)
    return ClipConfig(embed_dim=256, vision=vision, text=text)


def learn_vocabulary(path: Path, seed: int, concepts: list[Concept]) -> None:
    """Merges from the captions of 20,000 scenes and every name and alias, so that none of them is cut to pieces."""
    painter = Painter(draw_sprites(concepts))
    texts = [word for concept in concepts for word in (concept.name, *concept.aliases)]
    for number in range(4_000):
        random = generator(seed, Stream.TRAIN, number)
        scene, _ = painter.draw(random, 8)
        texts.extend(caption(scene, concepts, random) for _ in range(5))
    save_merges(path, learn_merges(count_words(texts), MAX_MERGES))


class Reservoir:
    """The last RESERVOIR scenes; a batch is part new ones, part old ones with another caption and another crop."""

    def __init__(self, stream: Iterator[Shard], image_px: int) -> None:
        self.stream = stream
        self.image_px = image_px
        self.pixels = np.empty(0, np.uint8)
        self.filled = 0
        self.at = 0

    def take_shard(self) -> None:
        """Put the next shard in the place of the oldest."""
        shard = next(self.stream)
        if not self.filled:
            room = RESERVOIR // SHARD * SHARD
            self.pixels = np.empty((room, *shard.pixels.shape[1:]), np.uint8)
            self.tokens = np.empty((room, *shard.tokens.shape[1:]), np.int16)
            self.concepts = np.empty((room, 3), np.int16)
        end = self.at + SHARD
        self.pixels[self.at : end], self.tokens[self.at : end] = shard.pixels, shard.tokens
        self.concepts[self.at : end] = shard.concepts
        self.filled = max(self.filled, end)
        self.at = end % len(self.pixels)

    def batch(
        self, random: np.random.Generator, size: int, fresh: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Pixels float32 `[size, 3, n, n]`, tokens int64 `[size, T]`, concepts int64 `[size, 3]`."""
        newest = (self.at - 1 - np.arange(fresh)) % len(self.pixels)
        rows = np.concatenate([newest, random.integers(0, self.filled, size - fresh)])
        return (
            self._pixels(random, rows),
            self._tokens(random, rows),
            torch.from_numpy(self.concepts[rows].astype(np.int64)),
        )

    def _pixels(self, random: np.random.Generator, rows: np.ndarray[Any, Any]) -> Tensor:
        spare = self.pixels.shape[1] - self.image_px
        out = np.empty((len(rows), self.image_px, self.image_px, 3), np.uint8)
        for at, (row, (top, left)) in enumerate(
            zip(rows, random.integers(0, spare + 1, (len(rows), 2)), strict=True)
        ):
            out[at] = self.pixels[row, top : top + self.image_px, left : left + self.image_px]
        pixels = torch.from_numpy(out).permute(0, 3, 1, 2).float()
        light = torch.from_numpy(
            random.uniform(0.85, 1.15, (len(rows), 1, 1, 1)).astype(np.float32)
        )
        return (pixels * light - MEAN) / STD

    def _tokens(self, random: np.random.Generator, rows: np.ndarray[Any, Any]) -> Tensor:
        tokens = self.tokens[rows, random.integers(0, CAPTIONS_PER_SCENE, len(rows))].astype(
            np.int64
        )
        longest = int((tokens.argmax(1) + 1).max())
        return torch.from_numpy(tokens[:, :longest])


def name_tokens(concepts: list[Concept], tokenizer: Tokenizer, seed: int) -> Tensor:
    """Several wordings of every concept: int64 `[concepts, PROMPTS_PER_CONCEPT, NAME_LENGTH]`."""
    random = np.random.default_rng([seed, 99])
    texts = [
        name_prompt(concept, random) for concept in concepts for _ in range(PROMPTS_PER_CONCEPT)
    ]
    tokens = tokenizer.tokenize(texts, NAME_LENGTH, truncate=True).astype(np.int64)
    return torch.from_numpy(tokens.reshape(len(concepts), PROMPTS_PER_CONCEPT, -1))


def loss_of(
    model: CLIP, batch: tuple[Tensor, Tensor, Tensor], names: Tensor, plan: Plan, step: int
) -> tuple[Tensor, dict[str, float]]:
    """The loss and what to print of it. `names` `[concepts, T]`: one wording of each."""
    pixels, tokens, concepts = batch
    device = model.logit_scale.device
    images = F.normalize(model.encode_image(pixels.to(device)).float(), dim=-1)
    texts = F.normalize(model.encode_text(tokens.to(device)).float(), dim=-1)
    scale = model.logit_scale.exp()
    logits = scale * images @ texts.T
    target = torch.arange(len(logits), device=device)
    contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    with torch.set_grad_enabled(step % plan.name_every == 0):
        name_vectors = F.normalize(model.encode_text(names.to(device)).float(), dim=-1)
    name_logits = (scale * images @ name_vectors.T).log_softmax(-1)
    shown = (concepts >= 0).to(device)
    picked = name_logits.gather(1, concepts.clamp(min=0).to(device)) * shown
    naming = -(picked.sum(1) / shown.sum(1)).mean()
    figures = {
        "contrast": contrast.item(),
        "right": (logits.argmax(0) == target).float().mean().item(),
        "naming": naming.item(),
        "named": (name_logits.argmax(1)[:, None] == concepts.to(device))
        .any(1)
        .float()
        .mean()
        .item(),
    }
    return contrast + plan.name_weight * naming, figures


def learning_rate(step: int, plan: Plan) -> float:
    """Warm-up, constant, then down to zero over the last `decay_steps` (1 - sqrt: fast first, then gentle)."""
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / plan.warmup_steps
    left = plan.steps - step
    if left >= plan.decay_steps:
        return plan.learning_rate
    return plan.learning_rate * (1 - math.sqrt(1 - left / plan.decay_steps))


def optimizer_for(model: CLIP, plan: Plan) -> torch.optim.AdamW:
    matrices = [
        p for name, p in model.named_parameters() if p.ndim >= 2 and "embedding" not in name
    ]
    others = [p for name, p in model.named_parameters() if p.ndim < 2 or "embedding" in name]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)


def save_checkpoint(path: Path, step: int, model: CLIP, optimizer: torch.optim.Optimizer) -> None:
    partial = path.with_suffix(".part")
    torch.save(
        {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}, partial
    )
    partial.replace(path)


def train(run: Path, plan: Plan, processes: int, minutes: float | None) -> None:
    """Train until the plan's last step, or for so many minutes. Writes run/{merges.txt.gz,plan.json,last.pt,log.txt}."""
    run.mkdir(parents=True, exist_ok=True)
    concepts = load_concepts()
    merges = run / "merges.txt.gz"
    if not merges.exists():
        learn_vocabulary(merges, plan.seed, concepts)
    tokenizer = Tokenizer.from_file(merges)
    (run / "plan.json").write_text(json.dumps(asdict(plan), indent=1))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(plan.seed)
    model = CLIP(mini_config(tokenizer.vocab_size)).to(device)
    model.visual.to(memory_format=torch.channels_last)
    optimizer = optimizer_for(model, plan)
    first = 0
    if (run / "last.pt").exists():
        saved = torch.load(run / "last.pt", map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    size = model.visual.input_resolution
    fresh = round(plan.batch * plan.fresh_share)
    spec = StreamSpec(plan.seed, size, 32, merges)
    # Shards are taken when their scenes are due, so a resumed run refills its reservoir with the latest ones.
    due = [first * fresh // SHARD]
    start = max(0, due[0] - (0 if first == 0 else 40))
    reservoir = Reservoir(shards(spec, start, processes), size)
    taken = start
    names = name_tokens(concepts, tokenizer, plan.seed)
    began = shown_at = time.monotonic()
    with (run / "log.txt").open("a") as log:
        for step in range(first, plan.steps):
            while taken * SHARD < max((step + 1) * fresh, 16 * SHARD):
                reservoir.take_shard()
                taken += 1
            random = np.random.default_rng([plan.seed, 7, step])
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, plan)
            batch = reservoir.batch(random, plan.batch, min(fresh, reservoir.filled))
            wording = torch.from_numpy(random.integers(0, PROMPTS_PER_CONCEPT, len(concepts)))
            with torch.autocast(device, torch.bfloat16):
                loss, figures = loss_of(
                    model, batch, names[torch.arange(len(concepts)), wording], plan, step
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            if (step + 1) % 50 == 0:
                now = time.monotonic()
                line = (
                    f"step {step + 1} {(now - began) / 60:.1f} min {50 * plan.batch / (now - shown_at):.0f} images/s "
                    + " ".join(f"{name} {value:.3f}" for name, value in figures.items())
                    + f" scale {model.logit_scale.exp().item():.1f}"
                )
                shown_at = now
                print(line, file=log, flush=True)
            over = minutes is not None and time.monotonic() - began > minutes * 60
            if (step + 1) % 500 == 0 or step + 1 == plan.steps or over:
                save_checkpoint(run / "last.pt", step + 1, model, optimizer)
            if over:
                return


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/mini"))
    parser.add_argument(
        "--processes", type=int, default=1, help="how many draw scenes beside the trainer"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, help="stop (resumably) after so long")
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    run, processes, minutes = options.pop("run"), options.pop("processes"), options.pop("minutes")
    torch.set_num_threads(options.pop("threads"))
    train(run, Plan(**options), processes, minutes)


if __name__ == "__main__":
    main()
