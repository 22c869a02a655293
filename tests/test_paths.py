"""Words from outside in forms that do no harm."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from clipsearch.paths import path_fields, path_text, printable

ODD = Path(os.fsdecode(b"/p/caf\xe9\n[red]\x1b[31m.jpg"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain ü 犬", "plain ü 犬"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("caf\udce9", "caf\\xe9"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_printable_escapes_only_what_could_do_harm(given: str, shown: str) -> None:
    assert printable(given) == shown


def test_the_fields_of_a_path_name_its_bytes_where_it_is_no_utf8() -> None:
    fields = json.loads(json.dumps(path_fields(ODD)))
    assert fields["path"].startswith("/p/caf\ufffd")
    assert fields["path_bytes_base64"] == "L3AvY2Fm6QpbcmVkXRtbMzFtLmpwZw=="
    assert path_fields(Path("/p/\u00fc.jpg")) == {"path": "/p/\u00fc.jpg"}


def test_only_paths_have_a_text() -> None:
    with pytest.raises(TypeError, match="int has no JSON form"):
        path_text(1)
