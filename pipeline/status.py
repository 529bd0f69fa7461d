"""Status: the releases of a corpus, its finished units, and the builds that have left their progress there."""

from dataclasses import dataclass

from voxbeam.pipeline.build_record import BuildRecord, latest_record
from voxbeam.pipeline.heartbeat import Heartbeat, read_heartbeat
from voxbeam.pipeline.progress import WorkerProgress, read_progress
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_release, release_numbers, require_corpus
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class BuildStatus:
    """A build that runs, or that stopped before its release was committed."""

    run_id: str
    heartbeat: Heartbeat
    workers: WorkerProgress


@dataclass(frozen=True, kw_only=True)
class CorpusStatus:
    """What is stored in a corpus, and what is being built into it."""

    uri: str
    releases: list[int]
    """numbers, in order"""
    latest: Release | None
    units: int
    """finished units, of any release or of none yet"""
    unit_bytes: int
    builds: list[BuildStatus]
    last_build: BuildRecord | None = None
    """times of the build that committed the latest release"""


def read_status(output_uri: str) -> CorpusStatus:
    """The status of a corpus, read from its storage alone: it works on any machine, while a build runs on another.

    Raises StorageError where there is no corpus.
    """
    store = Store(output_uri)
    require_corpus(store)
    numbers = release_numbers(store)
    units = [size for _, size in store.walk("units/")]
    builds: list[BuildStatus] = []
    for run_id in sorted({path.split("/")[1] for path, _ in store.walk("progress/")}):
        if (heartbeat := read_heartbeat(store, run_id)) is not None:
            builds.append(BuildStatus(run_id=run_id, heartbeat=heartbeat, workers=read_progress(store, run_id)))
    return CorpusStatus(
        uri=store.root,
        releases=numbers,
        latest=read_release(store, numbers[-1]) if numbers else None,
        units=len(units),
        unit_bytes=sum(units),
        builds=builds,
        last_build=latest_record(store),
    )
