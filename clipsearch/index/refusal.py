"""Why an index file was not used: in a word, and in a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class RefusalReason(StrEnum):
    """Why an index file was not used."""

    UNREADABLE = "unreadable"  # the system would not let us
    FOREIGN = "foreign"  # not an index file
    OLDER_FORMAT = "older format"
    NEWER_FORMAT = "newer format"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    OTHER_LIBRARY = "other library"
    OTHER_MODEL = "other model"


@dataclass(frozen=True)
class Refusal:
    """An index file that was passed over."""

    path: Path
    reason: RefusalReason
    detail: str


class RefusedError(Exception):
    """An index file cannot be used. Stays inside this engine."""

    def __init__(self, reason: RefusalReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
