from __future__ import annotations

import gzip
import html
import string
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import ftfy
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clipsearch.clip import tokenizer
from clipsearch.clip.tokenizer import Tokenizer
from clipsearch.errors import BrokenCheckpoint, QueryError

# Ids that OpenAI's own tokenizer gives, without start and end token.
GOLDEN = {
    "Hello World!": "3306 1002 256",
    "a diagram": "320 22697",
    "a dog": "320 1929",
    "a cat": "320 2368",
    "a photo of a cat": "320 1125 539 320 2368",
    "You should've done this": "592 1535 1200 1700 589",
    "don\N{RIGHT SINGLE QUOTATION MARK}t": "847 713",
    "résumé": "29106 7054 4166",
    "naïve café": "1097 35689 563 15304",
    "日本語": "39121 44353 34002 508",
    "½ ²": "33613 41175",
    "2023": "273 271 273 274",
    "😀 smile": "7334 3490",
    "a&amp;amp;b": "320 261 321",
    "foo_bar": "23435 318 2411",
    "İstanbul": "328 16384 11231",
    "a\u200bb": "320 9844 321",
    "IT'S": "585 568",
    "it'\N{LATIN SMALL LETTER LONG S}": "585 6 129 379",
    "<|endoftext|> a": "49407 320",
    "http://example.com/a_b?c=d": "15066 12441 6228 269 2464 270 320 318 321 286 322 284 323",
    "A\n'll 11p223RF☆ho!!to? of a cat": (
        "320 1342 272 272 335 273 273 274 16368 13439 2971 748 531 286 539 320 2368"
    ),
    "supercalifragilisticexpialidocious": "1642 2857 13093 2076 5868 26850 835 639 38466",
}
MERGES = [("c", "a"), ("ca", "t</w>"), ("a", "t</w>")]


@pytest.fixture
def small() -> Tokenizer:
    return Tokenizer.from_merges(MERGES)


@pytest.fixture(scope="session")
def reference(open_clip: ModuleType) -> Any:
    return open_clip.tokenizer.SimpleTokenizer()


def write_merges(path: Path, *lines: str) -> Path:
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


@pytest.mark.parametrize("text", GOLDEN)
def test_texts_have_the_ids_of_the_reference(text: str, openai_tokenizer: Tokenizer) -> None:
    assert openai_tokenizer.encode(text) == [int(index) for index in GOLDEN[text].split()]


def test_the_vocabulary_of_openai_has_its_published_size(openai_tokenizer: Tokenizer) -> None:
    assert openai_tokenizer.n_merges == 48_894
    assert openai_tokenizer.vocab_size == 49_408
    assert (openai_tokenizer.start_token, openai_tokenizer.end_token) == (49_406, 49_407)
    assert openai_tokenizer.encode("in") != [512]  # "in" inside a word; the word is another token
    assert openai_tokenizer.decode([0, 512, 49_405]) == "!injekyll"


# Any character, with many of those that cleaning, the pattern or Unicode's cases treat specially.
SPECIAL = (
    "'\"&;<>|#_ \t\r\n\x0b\x0c\x1c\x1f\x85\xa0\u200b\u2028\u3000\ufeff"
    "\u017f\u212a\u0130\u0131\uff21\u0301½²éßǅﬁ€™日本語हि😀"
)
WORDS = ("'s", "'LL", "&amp;", "&lt;b&gt;", "&#39;", "&amp;#x27;", "cafÃ©", "\x1b[31m", "42", "cat")
UNICODE = st.text(
    st.one_of(
        st.sampled_from(SPECIAL),
        st.sampled_from(string.printable),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=40,
)
TEXTS = st.lists(st.one_of(UNICODE, st.sampled_from(WORDS)), max_size=6).map("".join)


@settings(max_examples=2000, deadline=None, database=None, derandomize=True)
@given(text=TEXTS)
@example(text="the quick brown fox " * 20)
@example(text="".join(chr(97 + i * i % 26) for i in range(2000)))
@example(text="a" * 1001)
def test_generated_texts_have_the_ids_of_open_clip(
    text: str, openai_tokenizer: Tokenizer, reference: Any
) -> None:
    # open_clip has other names for the control tokens, and splits at white space with str.split.
    # The reference's pattern for white space lacks U+001C to U+001F, which ftfy removes before.
    assert openai_tokenizer.encode(text) == reference.encode(text)


def test_token_arrays_equal_those_of_open_clip(openai_tokenizer: Tokenizer, reference: Any) -> None:
    texts = ["a dog", "", "a very long story " * 40]
    ours = openai_tokenizer.tokenize(texts, truncate=True)
    assert np.array_equal(ours, reference(texts).numpy())


def test_merges_are_applied_by_rank_and_ids_count_bytes_twice(small: Tokenizer) -> None:
    assert small.vocab_size == 512 + 3 + 2
    assert (small.start_token, small.end_token) == (515, 516)
    assert small.encode("cat at ca") == [513, 514, small.encode("c")[0] - 256, 256 + 64]
    assert small.decode(small.encode("Cat  AT, ca")) == "cat at , ca"


def test_decoding_leaves_control_tokens_out_and_marks_broken_utf8(small: Tokenizer) -> None:
    euro = small.encode("€")
    assert small.decode([small.start_token, *euro, small.end_token]) == "€"
    assert small.decode(euro[1:]) == "\N{REPLACEMENT CHARACTER}" * 2


def test_control_tokens_in_a_text_are_spelled_out_on_request(small: Tokenizer) -> None:
    text = "a <|endoftext|> b <|STARTOFTEXT|>"
    assert small.end_token in small.encode(text)
    spelled = small.encode(text, allow_special=False)
    assert not {small.start_token, small.end_token} & set(spelled)
    assert small.decode(spelled) == "a <| endoftext |> b <| startoftext |>"


def test_rows_are_start_ids_end_and_zeros(small: Tokenizer) -> None:
    rows = small.tokenize(["cat at", ""], context_length=6)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[515, 513, 514, 516, 0, 0], [515, 516, 0, 0, 0, 0]]
    assert small.tokenize("cat").shape == (1, 77)
    assert small.tokenize([]).shape == (0, 77)


def test_a_text_that_is_too_long_is_refused_or_loses_its_end(small: Tokenizer) -> None:
    assert small.tokenize("cat cat cat", context_length=5).tolist() == [[515, 513, 513, 513, 516]]
    with pytest.raises(QueryError, match="'cat cat cat at' makes 6 tokens, more than the 5"):
        small.tokenize("cat cat cat at", context_length=5)
    cut = small.tokenize("cat cat cat at", context_length=5, truncate=True)
    assert cut.tolist() == [[515, 513, 513, 513, 516]]


def test_a_merges_file_of_our_own_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_merges(tmp_path / "merges.txt.gz", "#version: 1", "c a", "ca t</w>", "a t</w>", "")
    assert Tokenizer.from_file(path).encode("cat") == [513]
    assert Tokenizer.from_file(path).n_merges == 3


@pytest.mark.parametrize("line", ["abc", "a b c", "a ", " b"])
def test_a_line_that_is_no_merge_is_refused(line: str, tmp_path: Path) -> None:
    path = write_merges(tmp_path / "merges.txt.gz", "#version: 1", "c a", line)
    with pytest.raises(BrokenCheckpoint, match=r"merges.txt.gz holds the line"):
        Tokenizer.from_file(path)


@pytest.mark.parametrize("damage", ["missing", "no gzip", "cut off", "no text", "flipped"])
def test_a_damaged_merges_file_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    path = write_merges(tmp_path / "merges.txt.gz", "#version: 1", "c a")
    whole = path.read_bytes()
    middle = bytes([whole[len(whole) // 2] ^ 255])
    contents = {
        "no gzip": b"c a",
        "cut off": whole[:-10],
        "no text": gzip.compress(b"\xff\xfe"),
        "flipped": whole[: len(whole) // 2] + middle + whole[len(whole) // 2 + 1 :],
    }
    path.unlink() if damage == "missing" else path.write_bytes(contents[damage])
    with pytest.raises(BrokenCheckpoint, match=r"merges.txt.gz cannot be read"):
        Tokenizer.from_file(path)


def test_tokenizing_needs_no_torch() -> None:
    code = "import sys, clipsearch.clip.tokenizer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.text(st.characters(max_codepoint=127)))
@example("<|endoftext|> it's  a\x1fTab\t&amp; <|STARTOFTEXT|>")
def test_ascii_is_read_as_everything_else_is(text: str) -> None:
    plain = " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()).lower()
    assert tokenizer._clean(text) == plain
    for allow_special in (False, True):
        if plain.isascii():
            expected = tokenizer._word_pattern(allow_special).findall(plain)
            assert tokenizer._ascii_pattern(allow_special).findall(plain) == expected
