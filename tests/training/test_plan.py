"""Plans: the learning rate, and what a run that goes on may change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.plan import OtherPlan, Plan, keep_plan, learning_rate


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    plan = Plan(steps=1000, decay_steps=200, warmup_steps=100, learning_rate=1.0)
    assert learning_rate(0, plan) == pytest.approx(0.01)
    assert learning_rate(99, plan) == learning_rate(500, plan) == learning_rate(800, plan) == 1.0
    falling = [learning_rate(step, plan) for step in range(800, 1001)]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == 0.0


def test_a_run_may_be_made_longer_or_shorter(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    keep_plan(path, Plan(steps=100, decay_steps=10))
    keep_plan(path, Plan(steps=200, decay_steps=20))
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["steps"], written["decay_steps"]) == (200, 20)


def test_another_plan_is_refused_by_name_and_value_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    keep_plan(path, Plan(seed=1, batch=256))
    with pytest.raises(OtherPlan, match=r"batch 256 and not 64, seed 1 and not 2.*--run"):
        keep_plan(path, Plan(seed=2, batch=64))
    assert json.loads(path.read_text(encoding="utf-8"))["seed"] == 1


def test_a_plan_that_lacks_a_value_is_another_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    keep_plan(path, Plan())
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["name_weight"]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(OtherPlan, match=r"name_weight None and not 2\.0"):
        keep_plan(path, Plan())
