"""Byte-level BPE: text → token ids, with whatever list of merges belongs to the model.

In: strings. Out: lists of ids, or int32 arrays padded with 0. Knows nothing of torch or of models.
"""

from __future__ import annotations

import gzip
import html
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from clipsearch.errors import BrokenCheckpoint, QueryError

if TYPE_CHECKING:
    import regex

Merge = tuple[str, str]
TokenArray = NDArray[np.int32]

START = "<|startoftext|>"
END = "<|endoftext|>"
WORD_END = "</w>"

# OpenAI's file lists many more merges than its models know; its first line is how it is recognised.
OPENAI_HEADER = '"bpe_simple_vocab_16e6.txt'
OPENAI_MERGES = 49152 - 256 - 2

GZIP_MAGIC = b"\x1f\x8b"
# OpenAI's unpack to 3 MiB; a few bytes that unpack to much more are an attack on the memory.
MAX_MERGES_BYTES = 64 * 1024 * 1024

# So many different words are remembered, which bounds the memory of a long-lived process.
REMEMBERED_WORDS = 65536


class Tokenizer:
    """Ids are: 256 bytes, 256 bytes that end a word, the merges, the start token, the end token.

    The end token is therefore the largest id, which is how the text tower finds it.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        """Each line is a merge: two symbols and a space between them, of which they have none."""
        symbols = list(_byte_symbols().values())
        self._symbols = [*symbols, *(symbol + WORD_END for symbol in symbols)]
        # All at once and never line by line: who asks in a new process waits for this.
        self._symbols += "\n".join(lines).replace(" ", "").split("\n") if lines else []
        self._ids = dict(zip(self._symbols, range(len(self._symbols)), strict=True))
        self._ranks = dict(zip(lines, range(len(lines)), strict=True))
        self.n_merges = len(lines)
        self.start_token = len(self._symbols)
        self.end_token = self.start_token + 1
        self.vocab_size = self.end_token + 1
        self._control_tokens = {START: self.start_token, END: self.end_token}
        self._word_ids = lru_cache(REMEMBERED_WORDS)(self._split_word)

    @classmethod
    def from_merges(cls, merges: Iterable[Merge]) -> Self:
        """Merges in order of rank; the last symbol of a word ends in `</w>`."""
        return cls([" ".join(pair) for pair in merges])

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a text file: one header line, then two symbols and a space between a line.

        It may be gzipped.

        Of OpenAI's file, which its header tells, only the 48,894 merges in use are read; of any
        other, all. Raises BrokenCheckpoint if it cannot be read or holds something else.
        """
        _, *lines = _used_lines(path)
        merges = [line for line in lines if line]
        _require_pairs(merges, path)
        return cls(merges)

    @classmethod
    def for_model(cls, path: Path, vocab_size: int) -> Self:
        """The tokenizer in this file. Raises BrokenCheckpoint if it makes more or fewer tokens."""
        tokenizer = cls.from_file(path)
        if tokenizer.vocab_size != vocab_size:
            raise BrokenCheckpoint(
                f"{path} makes {tokenizer.vocab_size} tokens and the model knows {vocab_size}: it"
                " belongs to another model"
            )
        return tokenizer

    def encode(self, text: str, allow_special: bool = True) -> list[int]:
        """Ids of a text, without start and end token.

        With `allow_special`, as in the reference, a literal `<|endoftext|>` becomes the end token
        and hides what comes after it; without, as befits what a user types, it is spelled out.
        """
        cleaned = _clean(text)
        pattern = _ascii_pattern if cleaned.isascii() else _word_pattern
        ids: list[int] = []
        for word in pattern(allow_special).findall(cleaned):
            if allow_special and word in self._control_tokens:
                ids.append(self._control_tokens[word])
            else:
                ids.extend(self._word_ids(word))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The cleaned, lower-case text of these ids, without start and end token.

        What is no UTF-8 shows as U+FFFD.
        """
        controls = self._control_tokens.values()
        joined = "".join(self._symbols[index] for index in ids if index not in controls)
        bytes_of = _symbol_bytes()
        words = (bytes(bytes_of[char] for char in word) for word in joined.split(WORD_END))
        return b" ".join(words).decode("utf-8", errors="replace").strip()

    def tokenize(
        self,
        texts: str | Sequence[str],
        context_length: int = 77,
        truncate: bool = False,
        allow_special: bool = True,
    ) -> TokenArray:
        """Start token, ids, end token, zeros: int32 `[n, context_length]`, one row a text.

        A text that is too long raises QueryError, or with `truncate` loses its end but not its
        end token.
        """
        texts = [texts] if isinstance(texts, str) else texts
        tokens = np.zeros((len(texts), context_length), dtype=np.int32)
        for row, text in zip(tokens, texts, strict=True):
            ids = [self.start_token, *self.encode(text, allow_special), self.end_token]
            if len(ids) > context_length:
                if not truncate:
                    raise QueryError(
                        f"the text {text[:60]!r} makes {len(ids)} tokens, more than the "
                        f"{context_length} that the model reads: shorten it"
                    )
                ids[context_length - 1 :] = [self.end_token]
            row[: len(ids)] = ids
        return tokens

    def _split_word(self, word: str) -> tuple[int, ...]:
        """Join the neighbours of lowest rank, leftmost first, until no pair has a rank."""
        byte_symbols = _byte_symbols()
        symbols = [byte_symbols[byte] for byte in word.encode("utf-8")]
        symbols[-1] += WORD_END
        following = list(range(1, len(symbols) + 1))  # where the next symbol lies
        preceding = list(range(-1, len(symbols) - 1))
        # A heap, for a search through all pairs at each step takes minutes on a very long word.
        candidates = [
            (self._ranks[pair], place)
            for place, pair in enumerate(map(" ".join, pairwise(symbols)))
            if pair in self._ranks
        ]
        heapify(candidates)
        while candidates:
            rank, left = heappop(candidates)
            right = following[left]
            if right == len(symbols) or self._rank(symbols[left], symbols[right]) != rank:
                continue  # one of the two has been joined with another neighbour since
            symbols[left] += symbols[right]
            symbols[right] = ""
            following[left] = following[right]
            if following[left] < len(symbols):
                preceding[following[left]] = left
            for first in (preceding[left], left):
                second = following[first] if first >= 0 else len(symbols)
                if second < len(symbols):
                    new_rank = self._rank(symbols[first], symbols[second])
                    if new_rank is not None:
                        heappush(candidates, (new_rank, first))
        return tuple(self._ids[symbol] for symbol in symbols if symbol)

    def _rank(self, first: str, second: str) -> int | None:
        return self._ranks.get(f"{first} {second}")


def packed_merges(path: Path) -> bytes:
    """A merges file, gzipped, without the lines that no tokenizer reads. Raises BrokenCheckpoint.

    Unpacking OpenAI's file, of which most is not in use, takes longer than answering a question.
    """
    return gzip.compress("\n".join(_used_lines(path)).encode(), mtime=0)


def _used_lines(path: Path) -> list[str]:
    """The header and the lines in use. Raises BrokenCheckpoint."""
    try:
        lines = _read_text(path).split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BrokenCheckpoint(
            f"the merges file {path} cannot be read ({error}): fetch or export the model again"
        ) from error
    return lines[: 1 + OPENAI_MERGES] if lines[0].startswith(OPENAI_HEADER) else lines


def _read_text(path: Path) -> str:
    """Raises zlib.error, OSError or UnicodeDecodeError for damage, OSError for too much of it."""
    with path.open("rb") as file:
        start = file.read(len(GZIP_MAGIC))
    with gzip.open(path) if start == GZIP_MAGIC else path.open("rb") as file:
        content = file.read(MAX_MERGES_BYTES + 1)
    if len(content) > MAX_MERGES_BYTES:
        raise OSError("it is too large")
    if start != GZIP_MAGIC and not content.startswith(b"#version"):
        raise OSError("it is neither gzipped nor begins with #version")
    return content.decode("utf-8")


def _require_pairs(lines: Sequence[str], path: Path) -> None:
    """Raise BrokenCheckpoint for a line that is not two symbols with one space between them."""
    text = np.frombuffer("\n".join(["", *lines, ""]).encode(), dtype=np.uint8)
    (marks,) = np.nonzero((text == ord(" ")) | (text == ord("\n")))
    is_space = text[marks] == ord(" ")
    is_sound = marks.size == 2 * len(lines) + 1 and is_space[1::2].all() and not is_space[::2].any()
    if is_sound and (np.diff(marks) > 1).all():
        return
    line = next((each for each in lines if not re.fullmatch("[^ ]+ [^ ]+", each)), "")
    raise BrokenCheckpoint(
        f"the merges file {path} holds the line {line[:60]!r}, which is not two symbols: "
        "fetch or export the model again"
    )


def _clean(text: str) -> str:
    """Repair mojibake and quotes, resolve HTML entities, single the spaces, lower the case."""
    # In most questions there is nothing to repair, and ftfy takes longer to load than they take.
    if not (text.isascii() and text.isprintable() and "&" not in text):
        import ftfy

        # Captions from the web were escaped twice, which the models have learned to expect undone.
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


_CONTROLS = r"<\|startoftext\|>|<\|endoftext\|>|"
_CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d|"


@cache
def _word_pattern(allow_special: bool) -> regex.Pattern[str]:
    """Contractions, runs of letters, single digits, runs of anything else."""
    import regex

    words = _CONTRACTIONS + r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    return regex.compile((_CONTROLS if allow_special else "") + words, regex.IGNORECASE)


@cache
def _ascii_pattern(allow_special: bool) -> re.Pattern[str]:
    """The same for lower-case ASCII, for which Python's own module will do."""
    words = _CONTRACTIONS + r"[a-z]+|[0-9]|[^\sa-z0-9]+"
    return re.compile((_CONTROLS if allow_special else "") + words)


@cache
def _byte_symbols() -> dict[int, str]:
    """A visible character for every byte, in the order of ids: printable Latin-1, then the rest."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    symbols = {byte: chr(byte) for byte in visible}
    return symbols | {byte: chr(256 + index) for index, byte in enumerate(hidden)}


@cache
def _symbol_bytes() -> dict[str, int]:
    return {symbol: byte for byte, symbol in _byte_symbols().items()}
