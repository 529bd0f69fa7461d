"""Durable writes: whole or not at all, and failures of a disk are told as such."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.durable import write_file
from voxbeam.storage.store import Store

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")


def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "small", "size=64k")


@needs_root
def test_a_full_disk(small_disk: Path) -> None:
    store = Store(str(small_disk))
    store.put_if_absent("units/a", b"a" * 20_000)
    source = small_disk.parent / "source"
    source.write_bytes(b"c" * 100_000)
    for write in (
        lambda: store.put_if_absent("units/b", b"b" * 100_000),
        lambda: store.replace("progress/b", b"b" * 100_000),
        lambda: store.put_file("shards/c", source),
    ):
        with pytest.raises(StorageError, match="the disk is full") as caught:
            write()
        assert caught.value.remedy and "credentials" not in str(caught.value)
    assert [path for path, _ in store.walk()] == ["units/a"]  # nothing half written


@needs_root
def test_a_read_only_disk(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="read-only"):
        Store(str(small_disk)).put_if_absent("units/a", b"a")


def test_exactly_one_of_many_creates(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c"
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: write_file(target, lambda f: f.write(b"%d" % n), exclusive=True), range(40)))
    assert won.count(True) == 1
    assert target.read_bytes() == b"%d" % won.index(True)
    assert [path.name for path in target.parent.iterdir()] == ["c"]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", half, exclusive=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../outside", "units/../../outside", "/etc/outside"])
def test_no_path_leaves_the_folder(path: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "corpus"))
    with pytest.raises(StorageError):
        store.put_if_absent(path, b"x")
    assert not (tmp_path / "outside").exists()
