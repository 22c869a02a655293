"""Train `mini`: `python -m training.train --run runs/mini --steps N --decay-steps M`.

A run that was stopped or killed goes on from its last checkpoint, when it is started again. Its
folder gets plan.json, merges.txt.gz, log.txt and the checkpoint last.pt.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from clipsearch.clip.model import CLIP
from clipsearch.clip.tokenizer import Tokenizer
from training.concepts import load_concepts
from training.objective import Figures, loss_of
from training.plan import OtherPlan, Plan, keep_plan, learning_rate, mini_config
from training.reservoir import Batch, Reservoir, first_shard
from training.stream import StreamSpec, shards
from training.vocabulary import PROMPTS_PER_CONCEPT, learn_vocabulary, name_tokens

LOG_EVERY, SAVE_EVERY = 50, 500  # steps
BATCH_STREAM = 7  # of the random generator of a step, apart from those of scenes and names
MAX_SCALE = 100  # of the logits, as in CLIP
MAX_GRADIENT = 1.0  # in norm


@dataclass
class Trainer:
    """A model on its way: all that a checkpoint holds, and how a step changes it."""

    plan: Plan
    model: CLIP
    optimizer: torch.optim.Optimizer
    step: int = 0  # steps done

    @classmethod
    def create(cls, plan: Plan, vocab_size: int) -> Self:
        """A trainer at step 0, on the GPU if there is one."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(plan.seed)
        model = CLIP(mini_config(vocab_size)).to(device)
        model.visual.to(memory_format=torch.channels_last)
        return cls(plan, model, optimizer_for(model, plan))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.logit_scale.device

    def learn(self, batch: Batch, names: Tensor) -> Figures:
        """Take one step. `names` int64 `[concepts, T]`: one wording of each."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.plan)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, figures = loss_of(self.model, batch, names, self.plan, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRADIENT)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(MAX_SCALE))
        self.step += 1
        return figures

    def save(self, path: Path) -> None:
        """Write a checkpoint and put it in the last one's place, so that there is always one."""
        partial = path.with_suffix(".part")
        model, optimizer = self.model.state_dict(), self.optimizer.state_dict()
        torch.save({"step": self.step, "model": model, "optimizer": optimizer}, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Take up a checkpoint of a trainer with the same plan."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step = saved["step"]


def optimizer_for(model: CLIP, plan: Plan) -> torch.optim.AdamW:
    """AdamW with weight decay for matrices and kernels alone: not for embeddings or vectors."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in model.named_parameters():
        kind = decayed if parameter.ndim >= 2 and "embedding" not in name else others
        kind.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": plan.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98), fused=True)


class Clock:
    """How long a run takes, and how fast it is between two lines of its log."""

    def __init__(self, step: int) -> None:
        self.began = self.told = time.monotonic()
        self.told_step = step

    @property
    def minutes(self) -> float:
        """Since the start."""
        return (time.monotonic() - self.began) / 60

    def line(self, trainer: Trainer, figures: Figures) -> str:
        """A line of the log; the next one's pace counts from here."""
        now = time.monotonic()
        pace = (trainer.step - self.told_step) * trainer.plan.batch / (now - self.told)
        self.told, self.told_step = now, trainer.step
        return (
            f"step {trainer.step} {(now - self.began) / 60:.1f} min {pace:.0f} images/s "
            + " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            + f" scale {trainer.model.logit_scale.exp().item():.1f}"
        )


def train(run: Path, plan: Plan, processes: int = 1, minutes: float | None = None) -> None:
    """Train until the plan's last step, or for so many minutes; go on if the run was begun.

    Raises OtherPlan if it was begun with another plan.
    """
    run.mkdir(parents=True, exist_ok=True)
    keep_plan(run / "plan.json", plan)
    concepts = load_concepts()
    merges = run / "merges.txt.gz"
    if not merges.exists():
        learn_vocabulary(merges, plan.seed, concepts)
    tokenizer = Tokenizer.from_file(merges)
    trainer = Trainer.create(plan, tokenizer.vocab_size)
    if (run / "last.pt").exists():
        trainer.load(run / "last.pt")
    names = name_tokens(concepts, tokenizer, plan.seed)
    image_px, context = trainer.model.visual.input_resolution, trainer.model.context_length
    first = first_shard(trainer.step, plan.fresh)
    spec = StreamSpec(plan.seed, image_px, context, merges)
    with closing(shards(spec, first, processes)) as stream:
        take_steps(run, trainer, Reservoir(stream, image_px, first), names, minutes)


def take_steps(
    run: Path, trainer: Trainer, reservoir: Reservoir, names: Tensor, minutes: float | None
) -> None:
    """Take the steps that are left, write the log, keep checkpoints.

    `names` int64 `[concepts, PROMPTS_PER_CONCEPT, T]`.
    """
    plan, every_name = trainer.plan, torch.arange(len(names))
    clock = Clock(trainer.step)
    with (run / "log.txt").open("a", encoding="utf-8") as log:
        while trainer.step < plan.steps:
            # Of its own for every step, so that a run that goes on draws what it would have drawn.
            random = np.random.default_rng([plan.seed, BATCH_STREAM, trainer.step])
            reservoir.reach(trainer.step, plan.fresh)
            batch = reservoir.batch(random, plan.batch, plan.fresh)
            wording = torch.from_numpy(random.integers(0, PROMPTS_PER_CONCEPT, len(names)))
            figures = trainer.learn(batch, names[every_name, wording])
            if trainer.step % LOG_EVERY == 0:
                print(clock.line(trainer, figures), file=log, flush=True)
            over = minutes is not None and clock.minutes > minutes
            if trainer.step % SAVE_EVERY == 0 or trainer.step == plan.steps or over:
                trainer.save(run / "last.pt")
            if over:
                return


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options: every value of the Plan, and how to run it on this machine."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/mini"))
    parser.add_argument("--processes", type=int, default=1, help="how many draw scenes")
    parser.add_argument("--threads", type=int, default=2, help="how many compute")
    parser.add_argument("--minutes", type=float, help="stop (resumably) after so long")
    for name, value in asdict(Plan()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args(arguments))
    run, processes, minutes = options.pop("run"), options.pop("processes"), options.pop("minutes")
    torch.set_num_threads(options.pop("threads"))
    try:
        train(run, Plan(**options), processes, minutes)
    except OtherPlan as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
