"""Heal: makes missing or damaged files of existing releases again, with the bytes that they had.

A release follows from its recordings, its configuration and its units, byte for byte. So the graph runs once more under the
number of the damaged release: it reads finished units, writes every shard and table under the name that its content gives,
replaces what has another size, and finds that the release is there already.
"""

from collections.abc import Callable, Iterable, Sequence

from voxbeam.pipeline.events import BuildObserver
from voxbeam.pipeline.job import CODE_VERSION, Job
from voxbeam.pipeline.progress import WorkerProgress, clear_progress, read_progress
from voxbeam.pipeline.release_diff import first_few
from voxbeam.pipeline.runners.useful_workers import workers_to_probe
from voxbeam.pipeline.steps.policy_object import put_policy
from voxbeam.safety.tombstones import find_taken_down, read_tombstones
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.fingerprint import fingerprint
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.policy import Policy, without_decisions
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.release_copies import keep_copy
from voxbeam.storage.releases import damaged_files, read_release, read_rows, release_numbers
from voxbeam.storage.store import Store


def heal(
    store: Store,
    models: dict[str, str],
    run_id: str,
    collection: str,
    put_listing: Callable[[Sequence[Recording]], str],
    listed: Sequence[Recording],
    run: Callable[[Job], object],
    observer: BuildObserver,
) -> WorkerProgress:
    """Makes the missing or damaged files of every release again, oldest release first; returns the work that it took.

    `listed` are the recordings of the present input, for a release whose own table of recordings is lost. A release of other
    models or code stays as it is, and so does one that these recordings cannot give again.
    """
    progress = WorkerProgress()
    releases = {number: read_release(store, number) for number in release_numbers(store)}
    for release in releases.values():  # a build that was killed right after its commit has left none
        keep_copy(store, release)
    _copy_from_other_releases(store, releases.values())
    for number, release in releases.items():
        if _is_taken_down(store, release):
            observer.report("run", message=f"Release {release.name} is damaged, and stays so: it has what was taken down")
            continue
        parent = releases.get(release.parent) if release.parent is not None else None
        for extends in _ways(release, parent):
            damaged = [file.path for file in damaged_files(store, release)]
            if not damaged:
                break
            config = _config(release, models)
            what = f"Release {release.name}: {', '.join(first_few(damaged, 'files'))} missing or damaged"
            if config is None:
                observer.report(
                    "run", message=f"{what}; it was made with other models or code, with which alone it can be healed"
                )
                break
            observer.report("run", message=f"{what}; packed again from finished units")
            job = Job(
                output=store.root,
                listing=put_listing(_recordings(store, release, damaged) or listed),
                config=without_decisions(config),
                policy_path=put_policy(store, Policy.of(config)),
                fingerprint=release.fingerprint,
                model_hashes=models,
                number=number,
                previous=release.parent,
                extends_previous=extends,
                heals=True,
                useful_workers=workers_to_probe(release.counts, config),
                recordings=0,
                allow_empty=True,
                run_id=f"{run_id}-heal-{release.name}",
                collection=collection,
            )
            run(job)
            progress.add(read_progress(store, job.run_id))
            clear_progress(store, job.run_id)
    return progress


def _is_taken_down(store: Store, release: Release) -> bool:
    """Whether a release that is damaged has a recording that was taken down. Without its table only the commit can tell."""
    damaged = damaged_files(store, release)
    if not damaged or any(file.kind == "recordings" for file in damaged):
        return False
    return find_taken_down(store, release, {store.root: read_tombstones(store)}) is not None


def _copy_from_other_releases(store: Store, releases: Iterable[Release]) -> None:
    """Copies damaged manifest parts from releases that have the same part: one that extends another has all of its parts."""
    damaged = [file for release in releases for file in damaged_files(store, release) if file.kind != "shard"]
    for file in damaged:
        for other in (other for release in releases for other in release.files if other.sha256 == file.sha256):
            if store.size(other.path) == file.bytes:
                store.copy(other.path, file.path)
                break


def _ways(release: Release, parent: Release | None) -> tuple[bool, ...]:
    """Whether the build of a release extended its parent: the likelier answer, then the other one."""
    if parent is None:
        return (False,)
    kept = parent.files_of_kind("voices") or parent.files_of_kind("shard")  # a shard is replaced where samples change splits
    contained = {file.sha256 for file in kept} <= {file.sha256 for file in release.files}
    likely = contained and parent.fingerprint == release.fingerprint
    return likely, not likely


def _config(release: Release, models: dict[str, str]) -> CorpusConfig | None:
    """The configuration of a release; None if present models and code would not give its units."""
    try:
        config = CorpusConfig.model_validate(release.config)
    except ValueError:
        return None
    return config if fingerprint(config, models, CODE_VERSION) == release.fingerprint else None


def _recordings(store: Store, release: Release, damaged: Sequence[str]) -> list[Recording]:
    """The recordings of a release as they were listed; none if a part of their table is damaged."""
    if any(file.path in damaged for file in release.files_of_kind("recordings")):
        return []
    try:
        return [row.as_listed() for row in read_rows(store, release, RecordingRow)]
    except (SchemaError, OSError, ValueError):
        return []
