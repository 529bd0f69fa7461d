"""Recheck: compares a release with its sources, and units with what the stages make of them now.

`verify` otherwise reads the corpus alone: it shows that nothing has changed since the build, not that the build was right. Both
samples are chosen by hash, so that every run on every machine checks the same.
"""

import heapq
from collections.abc import Callable, Iterator

from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.events import VerifyProgress
from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.pipeline.release_diff import changed_models, first_few
from voxbeam.pipeline.steps.link import stable_hash
from voxbeam.pipeline.steps.probe import probe
from voxbeam.pipeline.steps.unit_file import read_header_and_table, unit_path, write_unit
from voxbeam.pipeline.steps.windows import plan_windows
from voxbeam.pipeline.verify_header import Problem
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError, DamagedUnitError, ModelError, StorageError
from voxbeam.schemas.fingerprint import fingerprint, stage_fingerprints
from voxbeam.schemas.manifest import RELEASED, RecordingRow
from voxbeam.schemas.release import Release
from voxbeam.schemas.unit import Unit
from voxbeam.storage.local_copies import open_sparse
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.chain import build_stages

_COMPARED = ("sha256", "bytes", "format", "sample_rate", "channels", "frames", "duration_ms", "decoder")

Report = Callable[[VerifyProgress], None]


def recheck_sources(store: Store, release: Release, share: float, report: Report) -> Iterator[Problem]:
    """Probes the sources of a share of the recordings again, of one at least, and compares what the release says of them.

    A source that cannot be reached is counted in the events, and is no problem.
    """
    config = _config(release)
    chosen, unreachable = _choose_recordings(store, release, share), 0
    for done, row in enumerate(chosen):
        report(VerifyProgress(phase="recheck", done=done, total=len(chosen), unreachable=unreachable))
        recording = row.as_listed()
        if not _reachable(recording.uri):
            unreachable += 1
            continue
        probed = probe(recording, config.decode)
        if probed.failure is not None or probed.source is None:
            yield Problem(
                where=row.recording, what=f"its source cannot be used any more: {probed.failure and probed.failure.error}"
            )
            continue
        for name in _COMPARED:
            was, now = getattr(row, name), getattr(probed.source, name)
            if was != now:
                yield Problem(where=row.recording, what=f"its source has {name} {now}, the release says {was}")
                break
    report(VerifyProgress(phase="recheck", done=len(chosen), total=len(chosen), unreachable=unreachable))


def rederive_units(store: Store, release: Release, count: int, report: Report) -> Iterator[Problem]:
    """Makes some units again through all stages, and compares header and rows with the stored ones; seconds may differ.

    Raises ModelError when the models or the code are not those of the release.
    """
    config = _config(release)
    _require_same_models(release, config)
    pin_threads()
    chosen, unreachable = _choose_units(store, release, count), 0
    for done, (row, name) in enumerate(chosen):
        report(VerifyProgress(phase="rederive", done=done, total=len(chosen), unreachable=unreachable))
        if not _reachable(row.uri):
            unreachable += 1
            continue
        windows = plan_windows(row.as_listed(), row.as_source(), config.decode, release.fingerprint)
        unit = next((unit for unit in windows if unit.name == name), None)
        what = "is not a window of its recording" if unit is None else _difference(store, release, config, unit)
        if what is not None:
            yield Problem(where=unit_path(name), what=f"unit of {row.recording}: {what}")
    report(VerifyProgress(phase="rederive", done=len(chosen), total=len(chosen), unreachable=unreachable))


def _difference(store: Store, release: Release, config: CorpusConfig, unit: Unit) -> str | None:
    """How a stored unit differs from the same unit made now; None if it does not."""
    try:
        stored, stored_rows = read_header_and_table(store.get(unit_path(unit.name)))
    except FileNotFoundError:
        return "its file is missing"
    except DamagedUnitError as error:
        return error.message
    stages = unit.stages(stage_fingerprints(config, release.models, release.code_version))
    state = UnitState(unit=unit)
    for stage in build_stages(config):
        state = stage.run_timed(state)
    if state.failure is not None:
        return f"{state.failure.stage} fails when it is made again: {state.failure.error}"
    header, rows = read_header_and_table(write_unit(state, stages, keep_audio=config.pack.keep_audio))
    for name in header:
        if name != "seconds" and header[name] != stored.get(name):
            return f"made again, its {name} differs"
    if len(rows) != len(stored_rows):
        return f"made again, it has {len(rows)} segments, not {len(stored_rows)}"
    for name in dict.fromkeys((*rows.column_names, *stored_rows.column_names)):
        if any(name not in table.column_names for table in (rows, stored_rows)) or not rows[name].equals(stored_rows[name]):
            return f"made again, its column {name} differs"
    return None


def _choose_recordings(store: Store, release: Release, share: float) -> list[RecordingRow]:
    """Released recordings whose hash is below a share, else the one with the smallest."""
    chosen: list[RecordingRow] = []
    least: tuple[float, RecordingRow] | None = None
    for row in read_rows(store, release, RecordingRow):
        if row.status not in RELEASED:
            continue
        position = stable_hash(f"recheck:{row.recording}") / 2**64
        if position < share:
            chosen.append(row)
        if least is None or position < least[0]:
            least = position, row
    return chosen or ([least[1]] if least else [])


def _choose_units(store: Store, release: Release, count: int) -> list[tuple[RecordingRow, str]]:
    """The units whose names have the smallest hashes, each with its recording."""
    named = ((row, unit) for row in read_rows(store, release, RecordingRow) for unit in row.units)
    return heapq.nsmallest(count, named, key=lambda pair: (stable_hash(f"rederive:{pair[1]}"), pair[1]))


def _config(release: Release) -> CorpusConfig:
    try:
        return CorpusConfig.model_validate(release.config)
    except ValueError as error:
        raise ConfigError(
            f"release {release.name} has a configuration of another voxbeam", remedy="use the version that built it"
        ) from error


def _require_same_models(release: Release, config: CorpusConfig) -> None:
    models = model_hashes(config)
    if changed := changed_models(release.models, models):
        raise ModelError(
            f"units of release {release.name} were made with other models: {'; '.join(first_few(changed, 'models'))}",
            remedy="install those models and library versions, or verify without --rederive",
        )
    if fingerprint(config, models, CODE_VERSION) != release.fingerprint:
        raise ModelError(
            f"units of release {release.name} were made by other code (version {release.code_version}, here {CODE_VERSION})",
            remedy="use the voxbeam that built it, or verify without --rederive",
        )


def _reachable(uri: str) -> bool:
    try:
        with open_sparse(uri) as (path, _):
            return path.exists()
    except (StorageError, OSError):
        return False
