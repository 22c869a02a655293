"""A library in a place that does not keep its promises is warned about, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipsearch.care.place import file_system, warnings_about
from clipsearch.library import Library
from tests.conftest import Paint

MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /net rw - nfs4 server:/x rw
31 22 0:41 / /net/local rw shared:2 master:1 - xfs /dev/sdb rw
32 22 0:42 / /a\\040blank rw - fuse.sshfs me@there: rw
33 22 0:43 / /over rw - ext4 /dev/sdc rw
34 22 0:44 / /over rw - cifs //server/share rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/net/library", "nfs4"),
        ("/network", "ext4"),
        ("/net/local/library", "xfs"),
        ("/a blank/library", "fuse.sshfs"),
        ("/over/library", "cifs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(mounts: Path, path: str, kind: str) -> None:
    assert file_system(Path(path), mounts) == kind


def test_network_and_user_space_are_warned_about_and_disks_are_not(mounts: Path) -> None:
    for path in ("/net/library", "/a blank/library", "/over/library"):
        (warning,) = warnings_about(Path(path), mounts)
        assert path in warning and "local disk" in warning
    assert warnings_about(Path("/home/me"), mounts) == []
    assert warnings_about(Path("/net"), mounts.with_name("none")) == []


def test_run_and_status_carry_the_warning(
    library: Library, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint("red.png")
    monkeypatch.setattr("clipsearch.care.place.file_system", lambda *_: "nfs4")
    report = library.index(paint("blue.png", "blue").parent)
    assert ["nfs4" in note for note in report.notes] == [True]
    assert ["nfs4" in warning for warning in library.status().warnings] == [True]
