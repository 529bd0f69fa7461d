"""Build record: how long a finished build took and where, in `builds/<release>-<run>.json` beside the releases.

Times differ from run to run, so the record is no part of the release. No release refers to it, and garbage collection leaves it.
"""

import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from voxbeam.pipeline.progress import SlowUnit, WorkerProgress
from voxbeam.storage.store import Store

BUILDS = "builds"
"""folder of the records"""


@dataclass(frozen=True, kw_only=True)
class BuildRecord:
    """A build that committed a release."""

    release: int
    run_id: str
    started: str
    """ISO 8601, UTC, by the driver's clock"""
    ended: str
    wall_s: float
    recordings: int
    """listed"""
    versions: dict[str, str]
    """of voxbeam, Python, and the libraries that run the models"""
    workers: WorkerProgress
    """worker-seconds and audio of each stage, slowest units, loads of models, damaged units"""


def write_record(
    store: Store, *, release: int, run_id: str, wall_s: float, recordings: int, libraries: str, workers: WorkerProgress
) -> None:
    """Writes the record of a build that ends now. `libraries` are `name=version` words."""
    ended = datetime.now(UTC)
    record = BuildRecord(
        release=release,
        run_id=run_id,
        started=(ended - timedelta(seconds=wall_s)).isoformat(timespec="seconds"),
        ended=ended.isoformat(timespec="seconds"),
        wall_s=round(wall_s, 3),
        recordings=recordings,
        versions={
            "voxbeam": version("voxbeam"),
            "python": platform.python_version(),
            **dict(word.split("=", 1) for word in libraries.split()),
        },
        workers=workers,
    )
    content = json.dumps(asdict(record), indent=1, sort_keys=True).encode()
    store.put_if_absent(f"{BUILDS}/{release:06d}-{run_id}.json", content)


def latest_record(store: Store) -> BuildRecord | None:
    """The record of the build of the latest release; None if there is none, or it cannot be read."""
    paths = [path for path, _ in store.walk(f"{BUILDS}/") if path.endswith(".json")]
    if not paths:
        return None
    try:
        tree = json.loads(store.get(paths[-1]))
        workers = tree.pop("workers")
        slowest = [SlowUnit(**unit) for unit in workers.pop("slowest")]
        return BuildRecord(**tree, workers=WorkerProgress(**workers, slowest=slowest))
    except (ValueError, TypeError, KeyError, AttributeError, FileNotFoundError):
        return None
