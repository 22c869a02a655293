"""The training loop's own arithmetic: the learning rate, and that a step learns."""

from __future__ import annotations

import pytest
import torch

from clipsearch.clip.model import CLIP, ClipConfig, TextConfig, VisionConfig
from training.train import Plan, learning_rate, loss_of, optimizer_for


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    plan = Plan(steps=1000, decay_steps=200, warmup_steps=100, learning_rate=1.0)
    assert learning_rate(0, plan) == pytest.approx(0.01)
    assert learning_rate(99, plan) == learning_rate(500, plan) == learning_rate(800, plan) == 1.0
    falling = [learning_rate(step, plan) for step in range(800, 1001)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0.0


def test_a_few_steps_learn_a_batch_by_heart() -> None:
    torch.manual_seed(0)
    config = ClipConfig(32, VisionConfig(32, (1, 1, 1, 1), 8, None), TextConfig(6, 20, 32, 1, 1))
    model = CLIP(config)
    plan = Plan(learning_rate=3e-3)
    optimizer = optimizer_for(model, plan)
    tokens = torch.tensor([[17, number, 19] for number in range(8)])
    batch = (
        torch.randn(8, 3, 32, 32),
        tokens,
        torch.tensor([[number, -1, -1] for number in range(8)]),
    )
    names = torch.tensor([[number, 19] for number in range(8)])
    losses = []
    for step in range(40):
        loss, figures = loss_of(model, batch, names, plan, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    assert figures["named"] == 1.0
