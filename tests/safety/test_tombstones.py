"""A release with what was taken down is refused by everything that reads it for training, also as a copy."""

import shutil
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.tombstones import put_tombstone, read_tombstones, require_no_tombstones
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index

from tests.pipeline.factories import small_release


def test_a_release_that_ignores_a_tombstone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, release = small_release(tmp_path / "corpus")
    shutil.copytree(tmp_path / "corpus", tmp_path / "copy")
    key = KeyRing(tmp_path / "keys").operator(make=True)
    assert len(open_index(store.root)) == 3
    put_tombstone(store, {"somebody-else": None}, "0" * 64, key)
    assert len(open_index(store.root)) == 3
    path = put_tombstone(store, {"r": None}, "1" * 64, key)
    found = read_tombstones(store)
    assert path == "tombstones/000002.json" and found.naming("r") == path and found.naming("q") is None
    assert found.naming("somebody-else") == "tombstones/000001.json"
    assert b"somebody-else" not in store.get("tombstones/000001.json"), "the feed does not name anybody"
    with pytest.raises(ConsentError, match="has r, taken down by"):
        open_index(store.root)  # the index of before is in the cache, and does not help
    copy = Store(str(tmp_path / "copy"))
    require_no_tombstones(copy, release)  # nobody told the copy
    words = ["train", copy.root, "--out", str(tmp_path / "run"), "--set", "steps=1", "warmup_steps=1", "--tombstones", store.root]
    assert main(words) == UNUSABLE
    assert "has r, taken down by" in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["changed", "foreign", "renamed"])
def test_a_tombstone_that_was_touched_is_an_error_and_no_permission(tmp_path: Path, damage: str) -> None:
    store, _ = small_release(tmp_path / "corpus")
    path = tmp_path / "corpus" / put_tombstone(store, {"r": None}, "1" * 64, KeyRing(tmp_path / "keys").operator(make=True))
    if damage == "changed":
        path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"A'))
    elif damage == "foreign":
        path.write_bytes(b'{"recordings": []}')
    else:
        path.rename(path.with_name("old.json"))
    with pytest.raises(LedgerError):
        open_index(store.root)
