"""Learn byte-pair merges from words.

In: words with their counts. Out: merges, best first, as the tokenizer reads them.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

END = "</w>"


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each run of letters occurs; other characters are single tokens, never merged."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update("".join(char if char.isalpha() else " " for char in text.lower()).split())
    return counts


def learn_merges(counts: Counter[str], limit: int) -> list[tuple[str, str]]:
    """Join the most frequent neighbours, again and again, `limit` times or until none are left.

    Sennrich et al. 2016, arXiv 1508.07909. Of equally frequent pairs the last in the alphabet is
    taken, so that the same counts give the same merges.
    """
    words = {word: _symbols(word) for word in counts}
    merges: list[tuple[str, str]] = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, symbols in words.items():
            if best[0] in symbols:
                words[word] = _merged(symbols, best)
    return merges


def save_merges(path: Path, merges: Iterable[tuple[str, str]]) -> None:
    """Write OpenAI's format: gzip text, one header line, one merge a line.

    The same merges give the same bytes, because the header of the gzip holds no time.
    """
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode("utf-8"))


def _symbols(word: str) -> tuple[str, ...]:
    """A word as the tokenizer begins with it; ASCII letters spell themselves.

    The few other words get no merges of their own: they stay as they are, byte by byte.
    """
    if not word.isascii():
        return ()
    return (*word[:-1], word[-1] + END)


def _merged(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    at = 0
    while at < len(symbols):
        if symbols[at : at + 2] == pair:
            out.append(pair[0] + pair[1])
            at += 2
        else:
            out.append(symbols[at])
            at += 1
    return tuple(out)
