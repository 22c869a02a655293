"""Learned merges, as the real tokenizer reads them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from clipsearch.clip.tokenizer import Tokenizer
from training.bpe import count_words, learn_merges, save_merges


def test_only_runs_of_letters_are_counted() -> None:
    assert count_words(["A dog, 2 dogs", "dog"]) == Counter({"dog": 2, "a": 1, "dogs": 1})


def test_frequent_pairs_are_merged_first() -> None:
    merges = learn_merges(Counter({"aab": 10, "ab": 5, "cd": 1}), 3)
    assert merges[0] == ("a", "b</w>")
    assert merges[1] == ("a", "ab</w>")


def test_counted_words_become_single_tokens(tmp_path: Path) -> None:
    words = Counter({"dog": 5, "hedgehog": 2, "apple": 3})
    path = tmp_path / "merges.txt.gz"
    save_merges(path, learn_merges(words, 100))
    tokenizer = Tokenizer.from_file(path)
    assert [len(tokenizer.encode(word)) for word in words] == [1, 1, 1]


def test_the_limit_limits(tmp_path: Path) -> None:
    assert len(learn_merges(Counter({"hedgehog": 2}), 3)) == 3


def test_the_same_merges_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_merges(tmp_path / name, [("a", "b</w>")])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
