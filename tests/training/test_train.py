"""Runs: what they leave behind, and that a stopped one goes on as if it had not been stopped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.fakes import CONCEPTS, random_shards, tiny_config, write_merges
from training import train as module
from training.objective import Figures
from training.plan import Plan
from training.reservoir import Batch
from training.stream import Shard, StreamSpec
from training.train import Trainer, main, optimizer_for, train


@pytest.fixture(autouse=True)
def tiny_world(monkeypatch: pytest.MonkeyPatch) -> None:
    def shards(spec: StreamSpec, first: int, processes: int) -> Iterator[Shard]:
        return random_shards(first, spec.context_length)

    monkeypatch.setattr(module, "shards", shards)
    monkeypatch.setattr(module, "mini_config", tiny_config)
    monkeypatch.setattr(module, "load_concepts", lambda: CONCEPTS)
    monkeypatch.setattr(module, "learn_vocabulary", lambda path, seed, _: write_merges(path))
    monkeypatch.setattr(module, "LOG_EVERY", 2)
    # More would take longer than all the rest here.
    monkeypatch.setattr("training.reservoir.SHARDS_AT_FIRST", 2)


def plan(steps: int) -> Plan:
    return Plan(steps=steps, decay_steps=0, warmup_steps=2, batch=16)


def saved(run: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(run / "last.pt", weights_only=True)
    return checkpoint


def test_a_run_leaves_a_plan_merges_a_log_and_a_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, plan(4))
    assert {path.name for path in tmp_path.iterdir()} == {
        *("plan.json", "merges.txt.gz", "log.txt", "last.pt")
    }
    checkpoint = saved(tmp_path)
    assert set(checkpoint) == {"step", "model", "optimizer"}
    assert checkpoint["step"] == 4


def test_the_log_tells_every_so_many_steps(tmp_path: Path) -> None:
    train(tmp_path, plan(4))
    figure = r"\d+\.\d{3}"
    line = re.compile(
        rf"step (\d+) \d+\.\d min \d+ images/s contrast {figure} right {figure}"
        rf" naming {figure} named {figure} scale \d+\.\d"
    )
    matches = [line.fullmatch(told) for told in (tmp_path / "log.txt").read_text().splitlines()]
    assert [match and match.group(1) for match in matches] == ["2", "4"]


def test_a_stopped_run_ends_as_one_that_was_not_stopped(tmp_path: Path) -> None:
    train(tmp_path / "whole", plan(6))
    train(tmp_path / "halves", plan(6), minutes=0)
    assert saved(tmp_path / "halves")["step"] == 1
    train(tmp_path / "halves", plan(6))
    whole, halves = saved(tmp_path / "whole"), saved(tmp_path / "halves")
    assert halves["step"] == 6
    for name, weights in whole["model"].items():
        torch.testing.assert_close(halves["model"][name], weights, msg=name)


def test_every_step_has_scenes_and_wordings_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops, names = set(), set()

    def watched(self: Trainer, batch: Batch, wordings: Tensor) -> Figures:
        crops.add(batch.pixels[-1].numpy().tobytes())
        names.add(wordings.numpy().tobytes())
        self.step += 1
        return {}

    monkeypatch.setattr(Trainer, "learn", watched)
    # Nothing new in any step: only the step's own random numbers can tell them apart.
    train(tmp_path, Plan(steps=3, batch=16, fresh_share=0.0))
    assert len(crops) == len(names) == 3


def test_a_finished_run_takes_no_more_steps(tmp_path: Path) -> None:
    train(tmp_path, plan(2))
    before = (tmp_path / "last.pt").stat().st_mtime_ns
    train(tmp_path, plan(2))
    assert (tmp_path / "last.pt").stat().st_mtime_ns == before


def test_a_save_that_is_cut_short_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer.create(plan(2), vocab_size=520)
    trainer.save(tmp_path / "last.pt")

    def torn(_: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(OSError, match="no space"):
        trainer.save(tmp_path / "last.pt")
    trainer.load(tmp_path / "last.pt")


def test_only_matrices_outside_embeddings_decay() -> None:
    model = Trainer.create(plan(1), vocab_size=520).model
    decayed = {id(each) for each in optimizer_for(model, plan(1)).param_groups[0]["params"]}
    names = {name for name, each in model.named_parameters() if id(each) in decayed}
    assert {"visual.conv1.weight", "text_projection"} <= names
    assert not names & {"token_embedding.weight", "positional_embedding", "logit_scale"}
    assert not any(name.endswith("bias") for name in names)


def test_another_plan_ends_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, plan(1))
    with pytest.raises(SystemExit, match="2"):
        main(["--run", str(tmp_path), "--batch", "32", "--warmup-steps", "2", "--threads", "1"])
    assert "was begun with batch 16 and not 32" in capsys.readouterr().err
