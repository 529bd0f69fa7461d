"""What a folder or bucket lists: links, odd sidecars, what is left out, and what may not be read."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.steps.discover import discover
from voxbeam.schemas.config import ListingConfig
from voxbeam.schemas.errors import ListingError, StorageError

from tests.pipeline.inputs import listed, touch
from tests.servers.false_bucket import QuietHandler, false_bucket


def test_files_left_out_are_counted_by_kind(tmp_path: Path) -> None:
    touch(tmp_path, "a.flac", "notes.txt", "x/more.TXT", "README", ".DS_Store", "x/._a.flac", "b.mid")
    (tmp_path / "a.json").write_text("{}")
    found = discover(str(tmp_path), ListingConfig())
    assert [r.recording for r in found.recordings] == ["a"]
    assert {(k.kind, k.count, k.example) for k in found.left_out} == {
        (".txt", 2, "notes.txt"), ("hidden file", 2, ".DS_Store"), ("no suffix", 1, "README"), (".mid", 1, "b.mid"),
    }  # fmt: skip


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path, "in/real/a.wav", "elsewhere/b.wav")
    (tmp_path / "in/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/again").symlink_to(tmp_path / "in/real")
    (tmp_path / "in/real/loop").symlink_to(tmp_path / "in")
    (tmp_path / "beside.wav").touch()
    (tmp_path / "in/around").symlink_to("..")  # all that lies beside the input would belong to it
    (tmp_path / "in/dangling.wav").symlink_to(tmp_path / "nowhere.wav")
    found = discover(str(tmp_path / "in"), ListingConfig())
    assert [r.recording for r in found.recordings] == ["dangling_wav", "linked-b_wav", "real-a_wav"]
    assert {(k.kind, k.count) for k in found.left_out} == {
        ("link to a folder that is in the input already", 2),
        ("link to a folder around the input", 1),
    }


@pytest.mark.parametrize(
    "sidecar",
    [
        b'{"snr": 1' + b"0" * 400 + b"}", b"1" * 5000, b'{"a":' * 100_000, b'{"speaker": "\\ud800"}', b'{"snr": [1]}',
        b'{"speaker": ["x"]}', b"\xff\xfe\xfd", b'{"snr": 1e999}',
    ],
)  # fmt: skip
def test_a_hostile_sidecar_costs_itself_and_is_told(sidecar: bytes, tmp_path: Path) -> None:
    touch(tmp_path, "a.flac")
    (tmp_path / "a.json").write_bytes(sidecar)
    found = discover(str(tmp_path), ListingConfig())
    (only,) = found.recordings
    assert (only.speaker, only.source_snr_db) == (None, None)
    assert [k.example for k in found.left_out] == ["a.json"]


def test_a_relative_input_is_below_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "user/in/a.wav", "project/in/a.wav")
    (tmp_path / "user/list.csv").write_text("uri\nin/a.wav\n../project/in/a.wav\n")
    monkeypatch.chdir(tmp_path / "user")
    assert [r.uri for r in listed("in")] == [str(tmp_path / "user/in/a.wav")]
    assert {r.uri for r in listed("list.csv")} == {str(tmp_path / "user/in/a.wav"), str(tmp_path / "project/in/a.wav")}
    monkeypatch.setenv("HOME", str(tmp_path / "project"))
    assert [r.uri for r in listed("~/in")] == [str(tmp_path / "project/in/a.wav")]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Permissions apply: root reads everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user can read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_dir():
                path.chmod(0o755)


def test_a_folder_that_may_not_be_read_stops(public: Path) -> None:
    touch(public, "in/a.wav", "in/deep/closed/b.wav", "other/behind/c.wav")
    (public / "in/deep/closed").chmod(0)
    with (
        as_nobody(),
        pytest.raises(StorageError, match=r"cannot read .*in/deep/closed: Permission denied.* build from a listing"),
    ):
        discover(str(public / "in"), ListingConfig())
    (public / "in/deep/closed").chmod(0o755)
    (public / "in/linked").symlink_to(public / "other/behind")
    (public / "in/linked.wav").symlink_to(public / "other/behind/c.wav")
    (public / "other").chmod(0)
    with as_nobody(), pytest.raises(StorageError, match=r"cannot read .*in/linked: Permission denied"):
        discover(str(public / "in"), ListingConfig())
    (public / "in/linked").unlink()
    with as_nobody():  # a file that cannot be opened is quarantined when it is probed
        assert [r.recording for r in listed(public / "in")] == ["a_wav", "deep-closed-b_wav", "linked_wav"]
        with pytest.raises(StorageError, match=r"cannot read .*other/behind: Permission denied"):
            discover(str(public / "other/behind"), ListingConfig())
        with pytest.raises(ListingError, match=r"cannot read the listing .*other/list.csv: Permission denied"):
            discover(str(public / "other/list.csv"), ListingConfig())


def test_the_file_system_s_own_folder_is_told(public: Path) -> None:
    touch(public, "a.wav", "lost+found/x")
    (public / "lost+found").chmod(0)
    with as_nobody():
        found = discover(str(public), ListingConfig())
    assert [(k.kind, k.count, k.example) for k in found.left_out] == [("folder of the file system", 1, "lost+found")]


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "speakers").symlink_to(tmp_path / "not-mounted")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    found = discover(str(tmp_path), ListingConfig())
    assert [(k.kind, k.count, k.example) for k in found.left_out] == [("link that leads nowhere", 2, "loop")]


def test_a_folder_that_is_removed_while_it_is_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.wav", "x/b.wav", "y/c.wav")
    scandir = os.scandir

    def removes_y(folder: Path) -> Any:
        if isinstance(folder, Path) and folder.name == "x":
            shutil.rmtree(tmp_path / "y")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", removes_y)
    found = discover(str(tmp_path), ListingConfig())
    assert [r.recording for r in found.recordings] == ["a_wav", "x-b_wav"]
    assert [(k.kind, k.example) for k in found.left_out] == [("folder that was removed while the input was listed", "y")]


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.EIO, "Input/output error.* build from a listing"), (errno.ESTALE, "Stale file handle"), (errno.EMFILE, "ulimit -n")],
)
def test_a_disk_that_fails_stops(code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.wav", "x/b.wav")
    scandir = os.scandir

    def fails(folder: Path) -> Any:
        if isinstance(folder, Path) and folder.name == "x":
            raise OSError(code, os.strerror(code))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", fails)
    with pytest.raises(StorageError, match=f"cannot read {tmp_path}/x: .*{text}"):
        discover(str(tmp_path), ListingConfig())


class Refuses(QuietHandler):
    """A bucket that answers 403 to everything."""

    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_bucket_that_may_not_be_listed_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = r"cannot list s3://refused-bucket/speech: .*; give these credentials the right"
    with false_bucket(Refuses, monkeypatch), pytest.raises(StorageError, match=refused):
        discover("s3://refused-bucket/speech", ListingConfig())
