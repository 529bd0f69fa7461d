"""The folder for temporary files that the user names is the one that is used, or the command says why it cannot be."""

from pathlib import Path

import pytest

from voxbeam.pipeline.build import build
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.environment import require_temporary_folder

from tests.storage.test_durable import needs_root, small_disk

__all__ = ["small_disk"]


@pytest.mark.parametrize("name", ["TMPDIR", "TEMP"])
def test_a_temporary_folder_that_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    with pytest.raises(StorageError, match=f"{name} names .*nowhere for temporary files, which cannot be used: No such file"):
        build(str(tmp_path), str(tmp_path / "out"))
    (tmp_path / "nowhere").mkdir()
    require_temporary_folder()


@needs_root
def test_a_full_temporary_folder(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(small_disk))
    require_temporary_folder()
    with (small_disk / "filler").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    with pytest.raises(StorageError, match="the disk is full"):
        require_temporary_folder()
