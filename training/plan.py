"""What a training run depends on: a Plan, written beside the run's checkpoints and read back.

Knows nothing of torch's optimizer, pictures or words.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig

# What may change when a run goes on: neither touches the steps that are already done.
CHANGEABLE = {"steps", "decay_steps"}


class OtherPlan(Exception):
    """The run was begun with values that cannot be changed on the way."""


@dataclass(frozen=True)
class Plan:
    """Everything a run depends on. The same plan draws the same scenes in the same order."""

    seed: int = 20261121
    steps: int = 3_300
    decay_steps: int = 800
    warmup_steps: int = 400
    batch: int = 256
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    name_weight: float = 2.0
    # In the other steps the text tower learns nothing from names, which saves a fifth of a step.
    name_every: int = 2
    fresh_share: float = 0.5

    @property
    def fresh(self) -> int:
        """How many scenes of a batch have not been shown before."""
        return round(self.batch * self.fresh_share)


def mini_config(vocab_size: int) -> ClipConfig:
    """The sizes of `mini`.

    A small ModifiedResNet learns from a tenth of the pictures that a small ViT needs.
    """
    vision = VisionConfig(image_size=96, layers=(2, 3, 4, 2), width=24, patch_size=None)
    text = TextConfig(context_length=32, vocab_size=vocab_size, width=128, layers=3)
    return ClipConfig(embed_dim=256, vision=vision, text=text)


def keep_plan(path: Path, plan: Plan) -> None:
    """Write the plan, after comparing it with the one that is there.

    Raises OtherPlan if they differ in more than CHANGEABLE.
    """
    now = asdict(plan)
    if path.exists():
        then = json.loads(path.read_text(encoding="utf-8"))
        # A plan of an older version may lack a value, or have one that is gone.
        names = (now.keys() | then.keys()) - CHANGEABLE
        other = sorted(name for name in names if then.get(name) != now.get(name))
        if other:
            differences = ", ".join(
                f"{name} {then.get(name)} and not {now.get(name)}" for name in other
            )
            raise OtherPlan(
                f"the run in {path.parent} was begun with {differences}:"
                " give it the same values again, or choose another folder with --run"
            )
    path.write_text(json.dumps(now, indent=1), encoding="utf-8")


def learning_rate(step: int, plan: Plan) -> float:
    """Warm-up, constant, then down to zero over the last `decay_steps`.

    Warm-up-stable-decay (Hu et al. 2024, arXiv 2404.06395), so that a run can be ended early
    without having planned it. It falls as 1 - sqrt: fast first, then gently.
    """
    if step < plan.warmup_steps:
        return plan.learning_rate * (step + 1) / plan.warmup_steps
    left = plan.steps - step
    if left >= plan.decay_steps:
        return plan.learning_rate
    return plan.learning_rate * (1 - math.sqrt(1 - left / plan.decay_steps))
