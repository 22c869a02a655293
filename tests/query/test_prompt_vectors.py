from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipsearch.query.prompt_vectors import PromptVectors
from clipsearch.query.prompts import NULL_PROMPTS
from tests.query.test_answer import WordEncoder


def test_there_are_hundreds_of_different_prompts() -> None:
    assert len(set(NULL_PROMPTS)) == len(NULL_PROMPTS) > 300


def test_a_model_encodes_them_once(tmp_path: Path) -> None:
    first, second = WordEncoder(), WordEncoder()
    encoded = PromptVectors(tmp_path).of(first)
    assert np.array_equal(PromptVectors(tmp_path).of(second), encoded)
    assert (first.n_texts, second.n_texts) == (len(NULL_PROMPTS), 0)
    assert encoded.dtype == np.float32


@pytest.mark.parametrize("keep", [0, 50, 1000])
def test_a_damaged_file_is_made_again(tmp_path: Path, keep: int) -> None:
    encoded = PromptVectors(tmp_path).of(WordEncoder())
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:keep])
    assert np.array_equal(PromptVectors(tmp_path).of(WordEncoder()), encoded)


@pytest.mark.parametrize("place", [0, 5, 40, -1])
def test_a_single_wrong_bit_is_found(tmp_path: Path, place: int) -> None:
    encoded = PromptVectors(tmp_path).of(WordEncoder())
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    assert np.array_equal(PromptVectors(tmp_path).of(WordEncoder()), encoded)


def test_where_nothing_can_be_written_they_are_encoded_by_each_process(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    vectors, encoder = PromptVectors(tmp_path / "file" / "folder"), WordEncoder()
    assert np.array_equal(vectors.of(encoder), vectors.of(encoder))
    assert encoder.n_texts == len(NULL_PROMPTS)


def test_another_model_has_others(tmp_path: Path) -> None:
    other = WordEncoder()
    other.model_sha256 = "another"
    PromptVectors(tmp_path).of(WordEncoder())
    PromptVectors(tmp_path).of(other)
    assert other.n_texts == len(NULL_PROMPTS)
