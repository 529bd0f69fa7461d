"""Purge: deletes everything that is left of recordings that were taken down, once their time of grace is over.

What goes: every release that has them, with its copy, audits, manifests, and the shards that no other release has; all units
of their windows; and what killed builds left behind, half of a file too, since nobody can tell what is in it. What stays is
scanned afterwards (`scan.py`).
Releases that never had them, and all that these refer to, are not touched.

A purge and a build exclude each other, as a garbage collection and a build do. One that was killed goes on when it is run again:
the releases and their tables, which tell what to delete, go last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from voxbeam.pipeline.build_record import BUILDS
from voxbeam.pipeline.collection_mark import collection_mark
from voxbeam.pipeline.gc import referenced_paths
from voxbeam.pipeline.steps.unit_file import read_header_and_table, window_folder
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.pipeline.takedown.person import Person
from voxbeam.pipeline.takedown.scan import Finding, scan
from voxbeam.safety.feed_keys import require_trusted
from voxbeam.safety.tombstones import Tombstone, Tombstones, read_tombstones
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConsentError, SchemaError
from voxbeam.schemas.identity import VoiceRow
from voxbeam.schemas.manifest import TABLES, RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.own_paths import is_own
from voxbeam.storage.release_copies import copy_path
from voxbeam.storage.releases import read_release, read_rows, release_numbers, release_path, table_batches
from voxbeam.storage.staged import name_when_done, walk_staged
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import forget_index

R = TypeVar("R", VoiceRow, SampleRow, RejectedRow)
_LEFT_BY_BUILDS = ("listings/", "progress/", "manifests/", "shards/", "copies/")
"""where objects lie that no release refers to"""
_LAST = ("releases/", "copies/", "manifests/")


@dataclass
class Purged:
    """What a purge deleted, or with `dry_run` would."""

    due: list[Tombstone] = field(default_factory=list)
    later: list[Tombstone] = field(default_factory=list)
    """whose time has not come, or that named none"""
    releases: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    bytes: int = 0
    scanned: int = 0
    """objects that were read afterwards"""
    findings: list[Finding] = field(default_factory=list)
    """what was found in them of the person"""


def purge(
    store: Store,
    now: datetime,
    *,
    trusted: Collection[str],
    everything: bool = False,
    dry_run: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
) -> Purged:
    """Deletes what is left of recordings whose tombstones say that it is to be deleted by now; of all of them if `everything`.

    `trusted` are the public keys of the operator. Raises ConsentError for tombstones that others signed, and while the latest
    release has such a recording, StorageError while a build runs.
    """
    tombstones = read_tombstones(store).all
    due = [one for one in tombstones if everything or (one.purge_after is not None and one.purge_after <= now)]
    result = Purged(due=due, later=[one for one in tombstones if one not in due])
    if not result.due:
        return result
    require_trusted([one.signers for one in tombstones], trusted, store.root)
    with collection_mark(store) as mark:
        mark.renew()
        on_step("look for what is left")
        person, windows, doomed = _find_doomed(store, Tombstones.of(result.due))
        result.releases = [release.number for release in doomed]
        sizes = dict(store.walk()) | {path: size for path, size, _ in walk_staged(store)}
        result.paths = _doomed_paths(store, sizes, doomed, windows, person)
        result.bytes = sum(sizes.get(path, 0) for path in result.paths)
        if dry_run:
            return result
        on_step("delete it")
        mark.renew()
        _drop_removals(store, person)
        last = [path for path in result.paths if path.startswith(_LAST)]
        mark.delete([path for path in result.paths if path not in set(last)])
        for release in doomed:
            forget_index(release)
        on_step("scan what stays")
        result.scanned, result.findings = scan(store, person, skip=set(last))
        tables = [path for path in last if not path.startswith("releases/")]
        mark.delete([path for path in last if path not in set(tables)])  # one whose tables are gone would be damaged
        mark.delete(tables)
    return result


def _find_doomed(store: Store, due: Tombstones) -> tuple[Person, set[str], list[Release]]:
    """What is known of the recordings, the folders of their units, and the releases that have them."""
    person, windows, doomed, staying, read = Person(), set[str](), list[Release](), set[str](), set[str]()
    numbers = release_numbers(store)
    for number in numbers:
        release = read_release(store, number)
        rows = list(read_rows(store, release, RecordingRow))
        gone = [row for row in rows if due.naming(row.recording, row.sha256)]
        if not gone:
            staying |= {name for row in rows for name in (row.speaker, row.title) if name}
            staying |= {voice.speaker for voice in read_rows(store, release, VoiceRow)}
            continue
        if number == numbers[-1]:
            raise ConsentError(
                f"the latest release of {store.root} still has {gone[0].recording}, which was taken down",
                remedy="finish the takedown first: `voxbeam takedown` makes a release without it",
            )
        doomed.append(release)
        config = CorpusConfig.model_validate(release.config)
        for row in gone:
            person.add_recording(row)
            windows |= {window_folder(name.partition("-")[0]) for name in row.units}
            if row.sha256 is not None:
                units = plan_windows(row.as_listed(), row.as_source(), config.decode, release.fingerprint)
                windows |= {window_folder(unit.window) for unit in units}
        add_rows(store, release, person, {row.recording for row in gone}, read)
    person.names -= staying
    return person, windows, doomed


def add_rows(store: Store, release: Release, person: Person, recordings: set[str], read: set[str] | None = None) -> None:
    """Adds what the other tables of a release say of recordings.

    Parts whose hash is in `read` are passed over, those that are read are added to it: releases share most of theirs.
    """
    read = set() if read is None else read
    new = replace(release, files=tuple(file for file in release.files if file.kind == "shard" or file.sha256 not in read))
    for voice in _rows_of(store, new, VoiceRow, recordings):
        person.names |= {name for name in (voice.speaker, voice.name) if name}
    for sample in _rows_of(store, new, SampleRow, recordings):
        person.add_segment(sample, *_codes(store, sample))
    for rejected in _rows_of(store, new, RejectedRow, recordings):
        person.add_segment(rejected)
    read |= {file.sha256 for file in new.files if file.kind != "shard"}


def _rows_of(store: Store, release: Release, record: type[R], recordings: set[str]) -> Iterator[R]:
    """The rows of recordings in a table of a release. Of parts without them, which are most, only the names are read."""
    for file in (file for file in release.files if TABLES.get(file.kind) is record):
        part = replace(release, files=(file,))
        names = (batch["recording"].to_pylist() for batch in table_batches(store, part, record, ["recording"]))
        if any(not recordings.isdisjoint(some) for some in names):
            yield from (row for row in read_rows(store, part, record) if row.recording in recordings)


def _codes(store: Store, sample: SampleRow) -> list[bytes]:
    """The codes of a sample, of every codec; nothing where an earlier purge, which was killed, has deleted its shard."""
    places = [(sample.codes_offset, sample.codes_bytes)]
    places += [(one["offset"], one["bytes"]) for one in sample.further_codes or ()]
    try:
        return [store.get_range(sample.shard, offset, size) for offset, size in places]
    except FileNotFoundError:
        return []


def _doomed_paths(store: Store, sizes: dict[str, int], doomed: list[Release], windows: set[str], person: Person) -> list[str]:
    """What to delete: of releases, of units, and of what builds left behind."""
    numbers = {release.number for release in doomed}
    staying = [number for number in release_numbers(store) if number not in numbers]
    kept = referenced_paths(store, staying) | {copy_path(number) for number in staying}
    paths = {path for release in doomed for path in (release_path(release.number), copy_path(release.number))}
    paths |= {file.path for release in doomed for file in release.files}
    audits = tuple(f"audits/{number:06d}/" for number in numbers)
    for path in sizes:
        if path[: len(window_folder("0" * 32))] in windows:
            paths.add(path)
        elif path.startswith((*_LEFT_BY_BUILDS, *audits)) or name_when_done(path) != path:  # the latter is half of a file
            if is_own(name_when_done(path)):
                paths.add(path)
        elif path.startswith("units/"):
            if is_own(path) and path not in kept and _may_have(store, path, person):
                paths.add(path)
        elif path.startswith(f"{BUILDS}/") and person.is_named_in(store.get(path)):
            paths.add(path)
    return sorted((paths - kept) & sizes.keys())


def _may_have(store: Store, path: str, person: Person) -> bool:
    """Whether a unit that no release refers to is of a person's recording, or cannot be read."""
    try:
        _, table = read_header_and_table(store.get(path))
    except SchemaError:
        return True
    return not person.recordings.isdisjoint(table["recording"].to_pylist())


def _drop_removals(store: Store, person: Person) -> None:
    """Takes the person's lines out of the orders of earlier removals (pipeline/remove.py)."""
    for path, _ in list(store.walk("removals/")):
        content = store.get(path)
        lines = content.decode(errors="replace").splitlines(keepends=True)
        left = "".join(line for line in lines if not _names(line, person)).encode()
        if left == content:
            continue
        if left:
            store.replace(path, left)
        else:
            store.delete([path])


def _names(line: str, person: Person) -> bool:
    try:
        tree = json.loads(line)
        return tree.get("recording") in person.recordings or tree.get("speaker") in person.names
    except (ValueError, AttributeError):
        return person.is_named_in(line.encode())
