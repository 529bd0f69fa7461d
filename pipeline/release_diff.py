"""Changes: why a build cannot add to the release before it, and what of the finished work holds nevertheless."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from voxbeam.schemas.config import CorpusConfig, affects_units
from voxbeam.schemas.errors import ListingError
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

LISTED = ("speaker", "language", "license", "consent_basis", "title", "text")
"""what a listing says of a recording and a release repeats"""
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What differs from the release before, each as `name: old → new`. Without any, a build only adds to it."""

    making: tuple[str, ...] = ()
    """settings, models and code that units are made with"""
    packing: tuple[str, ...] = ()
    listing: tuple[str, ...] = ()
    """what the listing says of recordings that are released, a line for each"""
    dropped: int = 0
    """recordings that the release holds and the listing does not"""

    def __bool__(self) -> bool:
        return bool(self.making or self.packing or self.listing)

    def __str__(self) -> str:
        what = "; ".join([*self.making, *self.packing, *_first_few(self.listing)])
        then = (
            "No unit of that release fits: every recording listed goes through all stages, but for units that an earlier build "
            "made with just these settings"
            if self.making
            else "Finished units are used again; all shards and manifests are made anew"
        )
        lost = f". {self.dropped} recordings of that release are not listed, and will not be in the next" if self.dropped else ""
        return f"{what}. {then}{lost}"


def changes_since(
    store: Store, parent: Release, recordings: Iterable[Recording], config: CorpusConfig, fingerprint: str, models: dict[str, str]
) -> Changes:
    """How the making, the packing and the listing of a corpus differ from those of its latest release.

    Raises ListingError when a listing that does not hold all of the release says other things of a part of it.
    """
    making, packing = [], []
    for key, text in _changed_keys(parent.config, config.model_dump(mode="json")):
        if affects_units(key):
            making.append(text)
        elif key.startswith(("pack.", "link_speakers.")):
            packing.append(text)
    if fingerprint != parent.fingerprint:
        making = [*making, *_changed_models(parent.models, models)] or ["the code of a stage"]
    listing, missing = diff_listing(store, parent, recordings)
    if making or packing:
        return Changes(making=tuple(making), packing=tuple(packing), dropped=len(missing))
    if listing and missing:
        said = "; ".join(_first_few(listing))
        raise ListingError(
            f"the input describes {len(listing)} recordings otherwise than release {parent.name} ({said}), and lacks "
            f"{len(missing)} that it holds (such as {missing[0]})",
            remedy="list the whole corpus to have it packed anew, which uses finished units again, or list these recordings as "
            "they were",
        )
    return Changes(listing=listing)


def diff_listing(store: Store, parent: Release, recordings: Iterable[Recording]) -> tuple[tuple[str, ...], list[str]]:
    """Of the recordings that a release holds: what the listing says otherwise, a line for each, and which are not listed."""
    listed = {recording.recording: recording for recording in recordings}
    lines: list[str] = []
    missing: list[str] = []
    for row in read_rows(store, parent, RecordingRow):
        if row.status != "done":
            continue
        now = listed.get(row.recording)
        if now is None:
            missing.append(row.recording)
        elif differs := [name for name in LISTED if getattr(row, name) != getattr(now, name)]:
            said = ", ".join(f"{name} {getattr(row, name)!r} → {getattr(now, name)!r}" for name in differs)
            lines.append(f"{row.recording}: {said}")
    return tuple(lines), missing


def _first_few(lines: tuple[str, ...]) -> list[str]:
    more = len(lines) - _NAMED
    return [*lines[:_NAMED], *([f"and {more} more recordings"] if more > 0 else [])]


def _changed_models(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Models whose hash differs, and libraries whose version does (they stand in one line)."""
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
