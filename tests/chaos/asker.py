"""Ask a library while others index it: python -m tests.chaos.asker LIBRARY ANSWERS …

Several threads share one Library, which is opened anew now and then. Every answer is written down
with the moments of its question and its arrival; an error is written down as one.
"""

from __future__ import annotations

import argparse
import json
import random
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from clipsearch.library import Library
from tests.chaos.encoder import HashEncoder
from tests.chaos.questions import plain, question

ASKED_OF_ONE = 40  # questions of all threads before the library is opened anew
WRONG_EVERY = 50  # with the planted bug


class Asker:
    def __init__(self, library: Path, answers: TextIO, seed: int, plant: bool) -> None:
        self.library, self.answers, self.plant = library, answers, plant
        self.seed, self.n_asked, self.lock = seed, 0, threading.Lock()

    def ask(self, n_questions: int, n_threads: int) -> None:
        while self.n_asked < n_questions:
            with Library(self.library, create=False, encoder=HashEncoder()) as opened:
                threads = [
                    threading.Thread(target=self._ask_some, args=(opened, self.seed + n))
                    for n in range(n_threads)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self.seed += n_threads

    def _ask_some(self, opened: Library, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(ASKED_OF_ONE // 2):
            vector, k = question(chance)
            asked_ns = time.monotonic_ns()
            try:
                told: dict[str, Any] = {"hits": plain(opened.query(vector, k))}
            except Exception as error:  # whatever it is, it speaks against the claim
                told = {"error": f"{type(error).__name__}: {error}"}
            told |= {"asked_ns": asked_ns, "answered_ns": time.monotonic_ns()}
            self._write(told | {"vector": vector.tolist(), "k": k})

    def _write(self, told: dict[str, Any]) -> None:
        with self.lock:
            self.n_asked += 1
            if self.plant and self.n_asked % WRONG_EVERY == 0 and len(told.get("hits", ())) > 1:
                told["hits"][0], told["hits"][1] = told["hits"][1], told["hits"][0]
            self.answers.write(json.dumps(told) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("library", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plant", action="store_true")
    given = parser.parse_args()
    with open(given.answers, "w", encoding="utf-8") as answers:
        Asker(given.library, answers, given.seed, given.plant).ask(given.count, given.threads)


if __name__ == "__main__":
    main()
