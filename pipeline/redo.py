"""Redo: what a build would do again on the units of the latest release, before anything starts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from voxbeam.pipeline.excluded_identities import resolve_identities
from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.pipeline.release_diff import Changes, changes_since
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.fingerprint import LISTED, SOUND, fingerprint, stage_reads
from voxbeam.schemas.manifest import RELEASED, RecordingRow
from voxbeam.schemas.policy import require_decisions_kept
from voxbeam.schemas.recording import Recording
from voxbeam.storage.releases import latest_release, read_rows
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class Redo:
    """What a build would do to a corpus that has a release."""

    release: int | None
    """number of the latest release; None if there is none"""
    changes: Changes = Changes()
    """what differs from it"""
    stage_ms: dict[str, int] = field(default_factory=dict)
    """stage → audio that it runs on: that of new recordings, and of all for a stage that differs"""
    new_recordings: int
    units: int
    """objects that it writes below `units/`"""
    reused_units: int

    def seconds(self, whole: dict[str, float], audio_ms: int) -> dict[str, float]:
        """Worker-seconds of each stage, of those for the whole input."""
        return {stage: s * self.stage_ms.get(stage, 0) / audio_ms if audio_ms else 0.0 for stage, s in whole.items()}


def find_redo(store: Store, recordings: Sequence[Recording], config: CorpusConfig, audio_ms: int, windows: int) -> Redo:
    """Compares a listing of about `audio_ms` in `windows` units, and a configuration, with the latest release.

    Units that still earlier builds made with these settings are reused too, and not counted. Raises what the build would raise.
    """
    previous = latest_release(store)
    stages = [stage for stage in stage_reads(config) if stage != SOUND]
    if previous is None:
        every = dict.fromkeys(stages, audio_ms)
        return Redo(release=None, stage_ms=every, new_recordings=len(recordings), units=windows, reused_units=0)
    models = model_hashes(config)
    config = resolve_identities(store, previous, config)
    require_decisions_kept(previous.name, previous.config, config)
    changes = changes_since(store, previous, recordings, config, fingerprint(config, models, CODE_VERSION), models)
    listed = {recording.recording: recording for recording in recordings}
    known = known_ms = units = relisted_ms = relisted = 0
    for row in read_rows(store, previous, RecordingRow):
        now = listed.get(row.recording)
        if now is None or row.status not in RELEASED:
            continue
        known, known_ms, units = known + 1, known_ms + row.total_ms, units + len(row.units)
        if (row.language, row.text) != (now.language, now.text):
            relisted_ms, relisted = relisted_ms + row.total_ms, relisted + len(row.units)
    new_ms, new_units = max(0, audio_ms - known_ms), max(0, windows - units)
    stage_ms = dict.fromkeys(stages, new_ms)
    for stage in stages:
        again = known_ms if stage in changes.stages else relisted_ms if stage in ("decode", *LISTED) else 0
        stage_ms[stage] += again
    written = units if changes.invalidates_units else relisted
    return Redo(
        release=previous.number,
        changes=changes,
        stage_ms=stage_ms,
        new_recordings=len(recordings) - known,
        units=new_units + written,
        reused_units=units - written,
    )
