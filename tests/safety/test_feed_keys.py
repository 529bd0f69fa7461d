"""Tombstones count if the operator signed them: by one key, or by keys that the ledger put in each other's place."""

from pathlib import Path

import pytest

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.takedown.rewrite import release_without
from voxbeam.safety.envelope import open_envelope, seal_envelope
from voxbeam.safety.keys import KeyRing, public_hex
from voxbeam.safety.takedown import check_statement, declare, publish_takedown
from voxbeam.safety.tombstones import put_tombstones, read_tombstones
from voxbeam.schemas.errors import LedgerError
from voxbeam.storage.store import Store

from tests.pipeline.factories import small_release
from tests.safety.ledgers import new_ledger, put_tombstone


def test_a_stranger_adds_no_tombstone(tmp_path: Path) -> None:
    """Not by the function, and not by writing the object, with all hashes right."""
    store, _ = small_release(tmp_path / "corpus")
    ledger, stranger = new_ledger(tmp_path), KeyRing(tmp_path / "stranger").operator(make=True)
    declare(ledger, store, {"somebody": None}, ledger.keys.operator(), None)
    with pytest.raises(LedgerError, match="it is not the operator's"):
        put_tombstone(store, {"q": None}, "", stranger)
    known = read_tombstones(store)
    payload = open_envelope(store.get("tombstones/000001.json"), "").payload | {"previous": known.digests[-1]}
    store.replace("tombstones/000002.json", seal_envelope(payload, [stranger]))
    with pytest.raises(LedgerError, match=r"000002.json is signed by .* it is not the operator's"):
        read_tombstones(store)
    store.replace("tombstones/000002.json", seal_envelope(payload, [ledger.keys.operator(), stranger]))
    with pytest.raises(LedgerError, match="it is not the operator's"):
        read_tombstones(store)


def test_a_new_key_of_the_ledger_goes_on_and_the_old_one_does_not(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path / "corpus")
    ledger = new_ledger(tmp_path)
    first = ledger.keys.operator()
    declare(ledger, store, {"a": None}, first, None)
    ledger.rotate_operator()
    ledger.rotate_operator()
    declare(ledger, store, {"b": None}, ledger.keys.operator(), None)
    declare(ledger, store, {"c": None}, ledger.keys.operator(), None)
    tombstones = read_tombstones(store)
    assert [len(open_envelope(store.get(one.path), "").payload["keys"]) for one in tombstones.all] == [0, 2, 0]
    assert tombstones.keys.current == ledger.operator_keys() == {public_hex(ledger.keys.operator())}
    with pytest.raises(LedgerError, match="it is not the operator's"):
        put_tombstone(store, {"d": None}, "", first)
    change = open_envelope(ledger.key_changes()[0], "").payload
    forged = seal_envelope(change | {"body": {"operator": "ab" * 32, "retire": change["body"]["retire"]}}, [first])
    payload = open_envelope(store.get("tombstones/000003.json"), "").payload
    payload |= {"previous": tombstones.digests[-1], "keys": [forged.decode()]}
    store.replace("tombstones/000004.json", seal_envelope(payload, [first]))
    with pytest.raises(LedgerError, match="is not valid: it must be signed by the operator"):
        read_tombstones(store)


def test_another_ledger_than_that_of_the_feed_takes_nobody_down(tmp_path: Path) -> None:
    """And adds nothing to its own ledger when it tries."""
    store, old = small_release(tmp_path / "corpus")
    release_without(store, old, {"r"})
    put_tombstone(store, {"somebody": None}, "", new_ledger(tmp_path).keys.operator())
    (tmp_path / "other").mkdir()
    other = new_ledger(tmp_path / "other")
    with pytest.raises(LedgerError, match="it is not the operator's"):
        publish_takedown(other, store, 1, ["r"], other.keys.pseudonym("Ann Lee", make=True))
    assert len(other.events()) == 1 and len(read_tombstones(store).all) == 1


def test_nothing_is_purged_by_the_word_of_a_stranger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("VOXBEAM_LEDGER", str(tmp_path / "ledger"))
    ledger = new_ledger(tmp_path)
    store, old = small_release(tmp_path / "corpus")
    release_without(store, old, {"r"})
    stranger = KeyRing(tmp_path / "stranger").operator(make=True)
    put_tombstone(store, {"r": None}, "", stranger)
    words = ["takedown", "purge", "--corpus", store.root, "--all"]
    assert main(words) == UNUSABLE and "which the consent ledger here does not know" in capsys.readouterr().err
    assert main([*words, "--key", public_hex(ledger.keys.operator())]) == UNUSABLE
    assert store.exists("releases/000001.json")
    main([*words, "--key", public_hex(stranger)])  # who names the key says that it is the operator's
    assert not store.exists("releases/000001.json")


def test_a_person_of_many_recordings_is_taken_down(tmp_path: Path) -> None:
    """Of more than fit into one signed statement of 1 MB: the feed stays readable, and names them all."""
    store = Store(str(tmp_path / "corpus"))
    names = {f"r{number}": f"{number:064x}" for number in range(7000)}
    paths = put_tombstones(store, names, "", KeyRing(tmp_path / "keys").operator(make=True))
    found = read_tombstones(store)
    assert [one.path for one in found.all] == paths and all(found.naming(name) for name in names)


def test_a_large_statement_is_checked(tmp_path: Path) -> None:
    key = KeyRing(tmp_path / "keys").operator(make=True)
    large = seal_envelope({"type": "voxbeam.takedown/2", "recordings": ["r" * (2 << 20)]}, [key])
    with pytest.raises(LedgerError, match="the statement of a takedown does not hold: 'before'"):
        check_statement(large, public_hex(key))
