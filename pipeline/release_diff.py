"""Release diff: what has changed since the previous release, and so how much of its finished work a build can keep."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ListingError, StorageError
from voxbeam.schemas.fingerprint import affects_units
from voxbeam.schemas.manifest import RELEASED, RecordingRow
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import damaged_files, read_rows
from voxbeam.storage.store import Store

LISTED_COLUMNS = ("speaker", "language", "license", "consent_basis", "title", "text")
"""columns of a listing that a release repeats"""
_MAX_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Differences from the previous release, each as `name: old → new`. Without any, a build extends that release."""

    invalidates_units: tuple[str, ...] = ()
    """settings, models and code with which units are made"""
    repacks: tuple[str, ...] = ()
    """settings with which finished units are packed"""
    damage: tuple[str, ...] = ()
    """files of that release that are missing or have another size, and could not be made again as they were"""
    listing: tuple[str, ...] = ()
    """one line for each released recording that is listed differently"""
    dropped: int = 0
    """released recordings that are no longer listed"""

    def __bool__(self) -> bool:
        return bool(self.invalidates_units or self.repacks or self.damage or self.listing)

    def __str__(self) -> str:
        what = "; ".join([*self.invalidates_units, *self.repacks, *first_few(self.damage, "files"), *first_few(self.listing)])
        consequence = (
            "No unit of that release can be reused: every listed recording goes through all stages, except units that an earlier "
            "build made with these same settings"
            if self.invalidates_units
            else "Finished units are reused; all shards and manifests are written again"
        )
        dropped = f". {self.dropped} recordings of that release are not listed, and will be dropped" if self.dropped else ""
        return f"{what}. {consequence}{dropped}"


def changes_since(
    store: Store,
    previous: Release,
    recordings: Iterable[Recording],
    config: CorpusConfig,
    fingerprint: str,
    models: dict[str, str],
) -> Changes:
    """How configuration, models, code and listing differ from those of the previous release.

    Raises ListingError for a listing of a part of that release that describes some of it differently: extending the release
    would keep the old description, and packing it again would drop the recordings that are not listed.
    """
    invalidates_units, repacks = [], []
    for key, text in _changed_keys(previous.config, config.model_dump(mode="json")):
        if affects_units(key):
            invalidates_units.append(text)
        elif key.startswith(("pack.", "link_speakers.")):
            repacks.append(text)
    if fingerprint != previous.fingerprint:
        invalidates_units = [*invalidates_units, *_changed_models(previous.models, models)] or ["the code of a stage"]
    damaged = damaged_files(store, previous)
    damage = tuple(f"{file.path} is missing or does not have {file.bytes} bytes" for file in damaged)
    if any(file.kind == "recordings" for file in damaged):  # nobody can tell what it lists
        return Changes(invalidates_units=tuple(invalidates_units), repacks=tuple(repacks), damage=damage)
    listing, missing = diff_listing(store, previous, recordings)
    if damage and missing:
        raise StorageError(
            f"release {previous.name} is damaged ({'; '.join(first_few(damage, 'files'))}) and cannot be made again as it was",
            remedy=f"list the whole corpus to pack it again: {len(missing)} recordings of it are missing, e.g. {missing[0]}",
        )
    if invalidates_units or repacks or damage:
        return Changes(invalidates_units=tuple(invalidates_units), repacks=tuple(repacks), damage=damage, dropped=len(missing))
    if listing and missing:
        examples = "; ".join(first_few(listing))
        raise ListingError(
            f"the input describes {len(listing)} recordings differently from release {previous.name} ({examples}), and "
            f"{len(missing)} recordings of that release are missing from it (e.g. {missing[0]})",
            remedy="list the whole corpus to pack it again, which reuses finished units, or list these recordings as they were",
        )
    return Changes(listing=listing)


def diff_listing(store: Store, previous: Release, recordings: Iterable[Recording]) -> tuple[tuple[str, ...], list[str]]:
    """A line for each released recording that is listed differently, and the released recordings that are not listed."""
    listed = {recording.recording: recording for recording in recordings}
    lines: list[str] = []
    missing: list[str] = []
    for row in read_rows(store, previous, RecordingRow):
        if row.status not in RELEASED:
            continue
        now = listed.get(row.recording)
        if now is None:
            missing.append(row.recording)
        elif differing := [name for name in LISTED_COLUMNS if getattr(row, name) != getattr(now, name)]:
            values = ", ".join(f"{name} {getattr(row, name)!r} → {getattr(now, name)!r}" for name in differing)
            lines.append(f"{row.recording}: {values}")
    return tuple(lines), missing


def first_few(lines: Sequence[str], noun: str = "recordings") -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - _MAX_EXAMPLES
    return [*lines[:_MAX_EXAMPLES], *([f"and {more} more {noun}"] if more > 0 else [])]


def _changed_models(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Models whose hash differs, and libraries whose version differs."""
    lines = [f"model {name}: {_short(old.get(name))} → {_short(new[name])}" for name in sorted(new) if _differs(name, old, new)]
    before, now = (dict(pair.split("=", 1) for pair in models.get("libraries", "").split()) for models in (old, new))
    return lines + [f"{name}: {before.get(name)} → {now[name]}" for name in sorted(now) if before.get(name) != now[name]]


def _differs(name: str, old: dict[str, str], new: dict[str, str]) -> bool:
    return name != "libraries" and old.get(name) != new[name]


def _short(identity: str | None) -> str:
    return identity[:12] if identity and len(identity) == 64 else str(identity)


def _changed_keys(old: dict[str, object], new: dict[str, object]) -> Iterator[tuple[str, str]]:
    before, now = _flat(old), _flat(new)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield key, f"{key}: {before.get(key)!r} → {now.get(key)!r}"


def _flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
