"""Commands that read a corpus say that there is none at a mistyped place, and create nothing there."""

from pathlib import Path

import pytest

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.corpus import Corpus
from voxbeam.schemas.errors import StorageError

from tests.pipeline.factories import small_release


@pytest.mark.parametrize("command", [["status"], ["verify"], ["verify", "--release", "9"], ["gc"], ["gc", "--dry-run"]])
@pytest.mark.parametrize("empty", [True, False])
def test_no_corpus(command: list[str], empty: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "mistyped"
    if empty:
        place.mkdir()
    assert main([*command, "--output", str(place)]) == UNUSABLE
    assert f"there is no corpus at {place}" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == ([place] if empty else [])


def test_a_corpus_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no corpus at"):
        Corpus(str(tmp_path / "mistyped"))
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["status", "--output", str(tmp_path / "notes.txt")]) == UNUSABLE
    assert "is a file, not a folder" in capsys.readouterr().err


def test_a_release_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_release(tmp_path)
    assert main(["verify", "--output", str(tmp_path), "--release", "9"]) == UNUSABLE
    assert "has no release 9; there are: 1" in capsys.readouterr().err
