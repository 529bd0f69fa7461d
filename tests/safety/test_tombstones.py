"""A release with what was taken down is refused by everything that reads it for training, also as a copy."""

import shutil
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.takedown.rewrite import release_without
from voxbeam.pipeline.verify import verify_release
from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.tombstones import read_feeds, read_tombstones, require_no_tombstones
from voxbeam.schemas.errors import ConsentError, LedgerError
from voxbeam.schemas.release import Release
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index

from tests.pipeline.factories import small_release
from tests.safety.ledgers import put_tombstone


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
    require_no_tombstones(copy, release, read_feeds(copy))  # nobody told the copy
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


def test_the_newest_tombstones_cannot_vanish_unnoticed(tmp_path: Path) -> None:
    """Releases remember how far the feed went: a shorter one, and another of the same length, are refused by whoever reads."""
    store, first = small_release(tmp_path / "corpus")
    key = KeyRing(tmp_path / "keys").operator(make=True)
    assert first.tombstones is None and b"tombstones" not in first.to_json()
    put_tombstone(store, {"somebody": None}, "", key)
    newest = tmp_path / "corpus" / put_tombstone(store, {"r": None}, "", key)
    second = release_without(store, first, {"r"})
    assert second.tombstones == read_tombstones(store).head and Release.from_json(second.to_json()) == second
    assert release_without(store, first, {"r"}) == second, "made again after a later tombstone, it is the same"
    put_tombstone(store, {"a-third": None}, "", key)
    assert release_without(store, first, {"r"}) == second and not list(verify_release(store, second))
    last, content = tmp_path / "corpus" / "tombstones" / "000003.json", newest.read_bytes()
    last.unlink()
    assert len(read_tombstones(store).all) == 2, "no release has seen the third"
    newest.unlink()
    message = "has 1 tombstones, and release 000002 saw 2: the newest were taken away"
    for use in (
        lambda: open_index(store.root, release=1),
        lambda: read_feeds(small_release(tmp_path / "other")[0], [store]),
        lambda: put_tombstone(store, {"q": None}, "", key),
        lambda: release_without(store, second, {"q"}),
    ):
        with pytest.raises(LedgerError, match=message):
            use()
    assert [problem.what for problem in verify_release(store, second) if problem.where == "tombstones/"] == [
        f"{store.root} {message}"
    ]
    forged = open_envelope(content, "").payload | {"recordings": []}
    newest.write_bytes(seal_envelope(forged, [key]))
    with pytest.raises(LedgerError, match=r"the first 2 tombstones of .* are not those that release 000002 saw"):
        open_index(store.root)


def test_a_tombstone_that_is_taken_out_leaves_no_chain(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path / "corpus")
    folder = tmp_path / "corpus" / "tombstones"
    key = KeyRing(tmp_path / "keys").operator(make=True)
    for name in ("x", "r", "y"):
        put_tombstone(store, {name: None}, "", key)
    (folder / "000003.json").replace(folder / "000002.json")
    with pytest.raises(LedgerError, match="does not follow the tombstones before it"):
        open_index(store.root)


def test_tombstones_of_an_earlier_voxbeam_are_read_and_chained_to(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path / "corpus")
    key = KeyRing(tmp_path / "keys").operator(make=True)
    path = tmp_path / "corpus" / put_tombstone(store, {"r": None}, "", key)
    payload = open_envelope(path.read_bytes(), "").payload
    old = {name: value for name, value in payload.items() if name not in ("previous", "keys")} | {"type": "voxbeam.tombstone/2"}
    path.write_bytes(seal_envelope(old, [key]))
    assert read_tombstones(store).naming("r") == "tombstones/000001.json"
    put_tombstone(store, {"q": None}, "", key)
    assert len(read_tombstones(store).all) == 2
    path.write_bytes(seal_envelope(old | {"recordings": []}, [key]))
    with pytest.raises(LedgerError, match="does not follow the tombstones before it"):
        read_tombstones(store)
