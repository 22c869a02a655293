"""What is learned: the two losses, and that steps lower them."""

from __future__ import annotations

import math

import pytest
import torch

from clipsearch.clip.config import ClipConfig, TextConfig, VisionConfig
from clipsearch.clip.model import CLIP
from training.objective import loss_of, matching, naming_of
from training.plan import Plan
from training.reservoir import Batch
from training.train import optimizer_for


def test_matching_is_lost_where_all_captions_are_alike_and_won_where_theirs_stand_out() -> None:
    alike, _ = matching(torch.zeros(8, 8))
    apart, right = matching(100 * torch.eye(8))
    assert alike.item() == pytest.approx(math.log(8))
    assert apart.item() == pytest.approx(0)
    assert right.item() == 1.0


def test_each_thing_of_a_picture_counts_equally() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    loss, named = naming_of(logits, torch.tensor([[0, 1, -1], [2, -1, -1]]))
    first = -(logits[0].log_softmax(-1)[0] + logits[0].log_softmax(-1)[1]) / 2
    assert loss.item() == pytest.approx((first.item() + math.log(3)) / 2)
    assert named.item() == 0.5


def test_only_every_nth_step_teaches_the_text_tower_names() -> None:
    config = ClipConfig(8, VisionConfig(32, (1, 1, 1, 1), 8, None), TextConfig(4, 20, 32, 1, 1))
    model = CLIP(config)
    batch = Batch(torch.zeros(2, 3, 32, 32), torch.tensor([[1, 19]] * 2), torch.tensor([[0]] * 2))
    plan, taught = Plan(name_every=2), []
    for step in range(2):
        model.zero_grad()
        loss, _ = loss_of(model, batch, torch.tensor([[7, 19], [8, 19]]), plan, step)
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = model.token_embedding.weight.grad
        assert gradient is not None
        taught.append(bool(gradient[7].any()))
    assert taught == [True, False]


def test_a_few_steps_learn_a_batch_by_heart() -> None:
    torch.manual_seed(0)
    config = ClipConfig(32, VisionConfig(32, (1, 1, 1, 1), 8, None), TextConfig(6, 20, 32, 1, 1))
    model = CLIP(config)
    plan = Plan(learning_rate=3e-3)
    optimizer = optimizer_for(model, plan)
    numbers = torch.arange(8)
    end = torch.full((8,), 19)
    tokens = torch.stack([torch.full((8,), 17), numbers, end], 1)
    none = torch.full((8,), -1)
    batch = Batch(torch.randn(8, 3, 32, 32), tokens, torch.stack([numbers, none, none], 1))
    losses = []
    for step in range(40):
        loss, figures = loss_of(model, batch, torch.stack([numbers, end], 1), plan, step)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4
    assert figures["named"] == 1.0
