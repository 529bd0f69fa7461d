"""Policy names: what a policy, or an order to remove, names; and which of it a corpus does not have, such as a mistyped speaker.

Identities are not among them: an unknown one is an error (excluded_identities.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.identity import VoiceRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import table_batches
from voxbeam.storage.store import Store

Names = dict[str, set[str]]
"""names by kind, which are the keys of COLUMNS"""
COLUMNS: dict[str, tuple[tuple[type[Any], str], ...]] = {
    "recordings": ((RecordingRow, "recording"),),
    "speakers": ((SampleRow, "speaker"), (RejectedRow, "speaker"), (VoiceRow, "speaker")),
    "voices": ((VoiceRow, "voice"),),
    "segments": ((SampleRow, "key"), (RejectedRow, "key")),
}
"""where the tables of a release have the names of each kind"""
_SETTINGS = {
    "exclude.recordings": "recordings",
    "exclude.speakers": "speakers",
    "exclude.voices": "voices",
    "exclude.segments": "segments",
    "corrections.texts": "segments",
    "corrections.rejected": "segments",
}
"""which kind of names each key of a configuration holds"""


def named(config: CorpusConfig) -> Names:
    """What a policy names."""
    names: Names = {kind: set() for kind in COLUMNS}
    for setting, kind in _SETTINGS.items():
        names[kind] |= set(_of_setting(config, setting))
    return names


def found_in_tables(store: Store, releases: Sequence[Release], wanted: Mapping[str, set[str]]) -> Names:
    """Those of some names that a release has. Only their columns are read, until all of them are found."""
    found: Names = {kind: set() for kind in COLUMNS}
    for kind, names in wanted.items():
        for release in releases:
            for record, column in COLUMNS[kind]:
                if found[kind] != names:
                    for batch in table_batches(store, release, record, [column]):
                        found[kind] |= names.intersection(batch[column].to_pylist())
    return found


def unknown_names(config: CorpusConfig, found: Names) -> tuple[str, ...]:
    """What a policy names and is not among what was found, each with the key that names it."""
    return tuple(
        f"{setting}: {name}"
        for setting, kind in _SETTINGS.items()
        for name in sorted(_of_setting(config, setting))
        if name not in found[kind]
    )


def _of_setting(config: CorpusConfig, setting: str) -> dict[str, str]:
    section, _, key = setting.partition(".")
    names: dict[str, str] = getattr(getattr(config, section), key)
    return names
