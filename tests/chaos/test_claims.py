"""The claims of the reliability table, each tried often enough for every change.

`make chaos` tries them twenty times as often.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import strace
from tests.chaos.asking import ask_many
from tests.chaos.corrupt import KINDS
from tests.chaos.damage import damage_many
from tests.chaos.faults import record_order, suffer_first
from tests.chaos.kills import kill_many
from tests.chaos.pictures import read_hostile
from tests.chaos.races import race_many

SEED = 20261121

needs_strace = pytest.mark.skipif(strace.why_not() is not None, reason=str(strace.why_not()))


def test_fifty_killed_indexers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    result = kill_many(tmp_path / "kills", SEED, 50)
    assert result.findings == []
    assert result.n_trials == 50
    assert {"in commit", "in scan", "in open"} <= set(result.counts)


@needs_strace
def test_thirty_failing_writes_and_syncs_lose_nothing_and_are_told(tmp_path: Path) -> None:
    result = suffer_first(tmp_path / "faults", SEED, 30)
    assert result.findings == []
    assert result.n_trials == 30


@needs_strace
def test_index_files_are_synced_before_and_after_they_get_their_name(tmp_path: Path) -> None:
    result = record_order(tmp_path / "order", SEED)
    assert result.findings == []
    assert result.counts["renames"] == 1 and result.counts["acknowledged"] >= 3


def test_two_hundred_damaged_state_files_never_answer_wrongly_unnoticed(tmp_path: Path) -> None:
    result = damage_many(tmp_path / "damage", SEED, 200)
    assert result.findings == []
    assert result.counts["refused"] and result.counts["right"]


def test_two_hundred_corrupt_pictures_get_a_reason_and_harm_no_neighbour(tmp_path: Path) -> None:
    result = read_hostile(tmp_path / "pictures", SEED, 200)
    assert result.findings == []
    assert result.counts["kinds"] == len(KINDS) >= 25


def test_a_thousand_questions_while_indexing_are_answered_rightly(tmp_path: Path) -> None:
    result = ask_many(tmp_path / "asking", SEED, 1000)
    assert result.findings == []
    assert result.n_trials >= 1000 and result.counts["states"] > 10


def test_of_indexers_that_start_together_one_works_and_the_others_say_so(tmp_path: Path) -> None:
    result = race_many(tmp_path / "races", SEED, 20)
    assert result.findings == []
    assert result.counts["starters"] > 60
