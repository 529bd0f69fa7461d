"""Policy names: what a policy names and neither of two releases has, such as a speaker whose name was mistyped."""

from collections.abc import Sequence
from typing import Any

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.identity import VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import table_batches
from voxbeam.storage.store import Store

_FOUND_IN: dict[str, tuple[tuple[type[Any], str], ...]] = {
    "exclude.recordings": ((RecordingRow, "recording"),),
    "exclude.speakers": ((SampleRow, "speaker"), (RejectedRow, "speaker"), (VoiceRow, "speaker")),
    "exclude.voices": ((VoiceRow, "voice"),),
    "exclude.segments": ((SampleRow, "key"), (RejectedRow, "key")),
    "corrections.texts": ((SampleRow, "key"), (RejectedRow, "key")),
    "corrections.rejected": ((SampleRow, "key"), (RejectedRow, "key")),
}


def unknown_names(store: Store, releases: Sequence[Release], config: CorpusConfig) -> tuple[str, ...]:
    """Each with the key that names it. Only columns of what the policy names are read."""
    unknown: list[str] = []
    for where, columns in _FOUND_IN.items():
        section, _, kind = where.partition(".")
        missing = set(getattr(getattr(config, section), kind))
        for release in releases:
            for record, column in columns:
                if missing:
                    for batch in table_batches(store, release, record, [column]):
                        missing.difference_update(batch[column].to_pylist())
        unknown += [f"{where}: {name}" for name in sorted(missing)]
    return tuple(unknown)
