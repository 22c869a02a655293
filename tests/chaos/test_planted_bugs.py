"""Every checker finds the bug that was planted for it: so its silence means something."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.chaos.asking import ask_many
from tests.chaos.damage import Damage, DamageBench, inflict, suffer
from tests.chaos.faults import record_order
from tests.chaos.kills import kill_many
from tests.chaos.oracle import CATALOG
from tests.chaos.pictures import read_hostile
from tests.chaos.races import race_many
from tests.chaos.test_claims import SEED, needs_strace


def has(findings: Sequence[str], words: str) -> bool:
    return any(words in finding for finding in findings)


def test_a_commit_that_was_skipped_is_found(tmp_path: Path) -> None:
    result = kill_many(tmp_path / "kills", SEED, 6, plant="skipped-commit")
    assert has(result.findings, "lost: ")


def test_vectors_that_went_to_each_others_pictures_are_found(tmp_path: Path) -> None:
    result = kill_many(tmp_path / "kills", SEED, 6, plant="swapped-ids")
    assert has(result.findings, "has the vector of another picture")


@needs_strace
def test_an_index_file_that_was_not_synced_is_found(tmp_path: Path) -> None:
    result = record_order(tmp_path / "order", SEED, plant="dropped-fsync")
    assert has(result.findings, "renamed before it was synced")
    assert has(result.findings, "the folder")


@needs_strace
def test_an_acknowledgement_of_what_was_not_synced_is_found(tmp_path: Path) -> None:
    result = record_order(tmp_path / "order", SEED, plant="unsynced-log")
    assert has(result.findings, "acknowledged before")


def test_a_file_that_nobody_hears_of_is_found(tmp_path: Path) -> None:
    result = read_hostile(tmp_path / "pictures", SEED, 12, plant="swallowed-files")
    assert has(result.findings, "swallowed: ")


def test_a_wrong_hit_is_found(tmp_path: Path) -> None:
    result = ask_many(tmp_path / "asking", SEED, 2000, plant=True)
    assert has(result.findings, "wrong: ")


def test_a_writer_that_ignores_the_lock_is_found(tmp_path: Path) -> None:
    result = race_many(tmp_path / "races", SEED, 2, plant="ignored-lock")
    assert has(result.findings, " wrote") or has(result.findings, " worked")


def test_a_score_from_a_damaged_vector_is_found(tmp_path: Path) -> None:
    bench = DamageBench(tmp_path / "damage", SEED)
    first = next(row.vector for row in bench.now["rest"].values() if row.vector)
    offset = (tmp_path / "damage/rest" / CATALOG).read_bytes().index(bytes.fromhex(first))
    damage = Damage(CATALOG, "flipped", 8 * offset + 6)
    with bench.prober() as sound, bench.prober("--plant", "ignored-checksums") as careless:
        assert suffer(bench, "rest", damage, sound) == "refused"
        assert suffer(bench, "rest", damage, careless).startswith("wrong score")


def test_damage_changes_just_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(4))
    inflict(tmp_path / "a", Damage("a", "flipped", 9))
    assert (tmp_path / "a").read_bytes() == b"\0\2\0\0"
    inflict(tmp_path / "a", Damage("a", "cut", 2))
    assert (tmp_path / "a").read_bytes() == b"\0\2"
