"""A collection and a build at the same time: whatever the order, nothing that a build relies on goes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline import collection_mark as collection_mark_module
from voxbeam.pipeline.collection_mark import collection_mark, last_collection, require_no_collection
from voxbeam.pipeline.gc import collect_garbage
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat
from voxbeam.pipeline.steps.release_writer import commit
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store

from tests.pipeline.factories import LEFT, PHONES, age, draft, small_release


class Intruder:
    """Begins a build before request `number` of a collection; knows which orphans that build relies on."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number = store, number
        self.requests, self.began = 0, False
        self.relies_on: set[str] = set()

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        for name in ("walk_with_mtime", "replace", "delete", "get", "size", "modified"):
            patch.setattr(Store, name, self.before(getattr(Store, name)))

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(store: Store, *arguments: Any, **named: Any) -> Any:
            if not self.began:
                self.requests += 1
                if self.requests == self.number:
                    self.began = True
                    self.begin()
            return call(store, *arguments, **named)

        return instead

    def begin(self) -> None:
        with heartbeat(self.store, "ab12", BuildInfo()):
            try:
                require_no_collection(self.store)
            except StorageError:
                return  # the build stops and relies on nothing
            self.relies_on = {path for path, _ in self.store.walk() if path in LEFT}


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 3])
def test_a_build_that_begins_in_any_gap(batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any request of a collection a build begins: it stops, or the collection does; no file that it relies on goes."""
    monkeypatch.setattr(collection_mark_module, "_BATCH", -(-len(LEFT) // batches))
    for number in range(1, 200):
        store, _ = small_release(tmp_path / str(number))
        for path in LEFT:
            store.put_if_absent(path, b"x")
        intruder = Intruder(store, number)
        with monkeypatch.context() as patch:
            intruder.patch(patch)
            try:
                collect_garbage(store.root, timedelta(0))
            except StorageError as error:
                assert "ab12 is running" in str(error)
        assert all(store.exists(path) for path in intruder.relies_on), (number, intruder.relies_on)
        if not intruder.began:
            assert number > 10
            return
    raise AssertionError("a collection made more than 200 requests")


def test_a_build_does_not_begin_or_commit_during_a_collection(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    with collection_mark(store) as mark:
        mark.renew()
        with pytest.raises(StorageError, match="garbage is being collected"):
            require_no_collection(store)
        with pytest.raises(StorageError, match="garbage is being collected"):
            commit(store, draft(2), [], {}, PHONES)
        age(tmp_path / "gc", timedelta(hours=1))
        require_no_collection(store)  # of one that was killed
    require_no_collection(store)


def test_a_build_that_seemed_dead_does_not_commit_after_a_collection(tmp_path: Path) -> None:
    """Suspended for longer than a heartbeat counts, or behind a clock that jumped: its units may be gone."""
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"a unit of the build")
    before = last_collection(store)
    collect_garbage(str(tmp_path), timedelta(days=7))
    assert last_collection(store) == before, "nothing was deleted"
    collect_garbage(str(tmp_path), timedelta(0))
    assert not store.exists(LEFT[0])
    with pytest.raises(StorageError, match=r"garbage was collected .* while this command was suspended"):
        commit(store, replace(draft(2), collection=before), [], {}, PHONES)
    commit(store, replace(draft(2), collection=last_collection(store)), [], {}, PHONES)


def test_a_collection_that_seemed_dead_deletes_nothing_more(tmp_path: Path) -> None:
    """It was suspended until its mark counted no more, and a build has committed a release: that may refer to what is left."""
    store, _ = small_release(tmp_path)
    store.put_if_absent(LEFT[0], b"x")
    with collection_mark(store) as mark:
        mark.renew()
        age(tmp_path / "gc", timedelta(hours=1))
        commit(store, draft(2), [], {}, PHONES)
        with pytest.raises(StorageError, match="a release was committed to"):
            mark.delete([LEFT[0]])
    assert store.exists(LEFT[0])


def test_a_build_that_began_between_two_batches_does_not_commit(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    with collection_mark(store) as mark:
        mark.delete([LEFT[0]])
        began = last_collection(store)
        mark.delete([LEFT[1]])
    with pytest.raises(StorageError, match=r"garbage was collected .* while this command was suspended"):
        commit(store, replace(draft(2), collection=began), [], {}, PHONES)


def test_how_long_to_wait_is_said_when_the_clock_was_set_back(tmp_path: Path) -> None:
    """The last sign of a killed build lies an hour ahead: it counts as running until then, not for a minute."""
    store, _ = small_release(tmp_path)
    with heartbeat(store, "ab12", BuildInfo()):
        pass
    age(tmp_path / "progress", timedelta(hours=-1))
    with pytest.raises(StorageError) as failed:
        collect_garbage(str(tmp_path), timedelta(0))
    assert failed.value.remedy is not None and "wait 61 min" in failed.value.remedy
