"""Release diff: what has changed since the previous release, and so how much of its finished work a build can keep."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.schemas.bounded_yaml import shorten
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ListingError, StorageError
from voxbeam.schemas.fingerprint import EVIDENCE_VERSION, READS, affects_units, stage_fingerprints, stage_reads
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.leaves import leaves_by_name
from voxbeam.schemas.manifest import DUPLICATE, EXCLUDED, RELEASED, RecordingRow
from voxbeam.schemas.policy import DECISIONS, changed_decisions
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.local_copies import local_size
from voxbeam.storage.releases import damaged_files, read_rows
from voxbeam.storage.store import Store
from voxbeam.transforms.identity.naming import CHANGES
from voxbeam.transforms.reuse import stages_to_run

LISTED_COLUMNS = ("speaker", "language", "license", "consent_basis", "title", "text", "extra")
"""columns of a listing that a release repeats"""
POLICY_KEYS = ("filter.", "purity.", "pack.", "link_speakers.", "identify.")
"""beginnings of keys with which finished units are packed, if they do not change the units"""
_MAX_EXAMPLES = 3


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Differences from the previous release, each as `name: old → new`. Without any, a build extends that release."""

    invalidates_units: tuple[str, ...] = ()
    """settings, models and code with which units are made"""
    stages: tuple[str, ...] = ()
    """stages that run again on units of that release, in order; the others keep their results"""
    repacks: tuple[str, ...] = ()
    """settings and decisions with which finished units are packed"""
    damage: tuple[str, ...] = ()
    """files of that release that are missing or have another size, and could not be made again as they were"""
    listing: tuple[str, ...] = ()
    """one line for each released recording that is listed differently"""
    new: int = 0
    """recordings of the input that the release does not contain, and may: no change of what it has"""
    unlisted: tuple[str, ...] = ()
    """released recordings that are not in the input"""
    unlisted_quarantine: frozenset[str] = frozenset()
    """quarantined recordings of the release that are not in the input"""
    removes_unlisted: bool = False
    """whether the next release is to be without both"""

    def __bool__(self) -> bool:
        return bool(self.invalidates_units or self.repacks or self.damage or self.listing or self._removed)

    @property
    def _removed(self) -> bool:
        return self.removes_unlisted and bool(self.unlisted or self.unlisted_quarantine)

    def unlisted_message(self, release: str) -> str | None:
        """What becomes of the recordings that were taken out of the input."""
        if not self.unlisted and not self._removed:
            return None
        count = len(self.unlisted) or len(self.unlisted_quarantine)
        examples = ", ".join(first_few(self.unlisted or tuple(sorted(self.unlisted_quarantine))))
        fate = (
            "the next release is without them"
            if self.removes_unlisted
            else "they stay in the corpus; --remove-unlisted makes the next release without them"
        )
        return f"{count} recordings of release {release} are not in the input ({examples}): {fate}"

    def __str__(self) -> str:
        what = "; ".join([*self.invalidates_units, *self.repacks, *first_few(self.damage, "files"), *first_few(self.listing)])
        return f"{what or 'recordings taken out'}. {self._consequence()}"

    def _consequence(self) -> str:
        if not self.invalidates_units:
            return "Finished units are reused; all shards and manifests are written again"
        if not self.stages:
            return "No stage runs again: new units take what those of before hold; all shards and manifests are written again"
        every = set(READS) <= set(self.stages)
        again = "all stages run" if every else f"these stages run again: {', '.join(self.stages)}"
        return f"On every listed recording {again}, fewer where the units of earlier builds know more"


def changes_since(
    store: Store,
    previous: Release,
    recordings: Iterable[Recording],
    config: CorpusConfig,
    fingerprint: str,
    models: dict[str, str],
    code_version: int = CODE_VERSION,
    *,
    remove_unlisted: bool = False,
) -> Changes:
    """How configuration, models, code and listing differ from those of the previous release.

    Raises ListingError for a listing of a part of that release where it has to be packed again, because of other settings or
    another description: that would drop the recordings that are not listed, which is done on request only.
    """
    changed = _changed_keys(previous.config, config.model_dump(mode="json"))
    invalidates_units, repacks = [text for key, text in changed if affects_units(key)], repacking_changes(previous, config)
    if previous.models.get("identify") != models.get("identify"):
        repacks.append("the calibration of identities, or the library that finds neighbors")
    if "identities" not in previous.counts:
        repacks.append("that release has no identities: an earlier voxbeam made it")
    if fingerprint != previous.fingerprint:
        made = changed_models(_of_units(previous.models), _of_units(models))
        invalidates_units = [*invalidates_units, *made] or ["the code of a stage"]
    stages = changed_stages(previous, config, models, code_version) if invalidates_units else ()
    damaged = damaged_files(store, previous)
    damage = tuple(f"{file.path} is missing or does not have {file.bytes} bytes" for file in damaged)
    if any(file.kind == "recordings" for file in damaged):  # nobody can tell what it lists
        return Changes(invalidates_units=tuple(invalidates_units), stages=stages, repacks=tuple(repacks), damage=damage)
    listing, new, unlisted, unlisted_quarantine = _diff_listing(
        store, previous, recordings, lambda row, now: not remove_unlisted and _stays_out(row, now, config)
    )
    if damage and unlisted and not remove_unlisted:
        raise StorageError(
            f"release {previous.name} is damaged ({'; '.join(first_few(damage, 'files'))}) and cannot be made again as it was",
            remedy=f"list the whole corpus to pack it again: {len(unlisted)} recordings of it are missing, e.g. {unlisted[0]}",
        )
    changes = Changes(
        invalidates_units=tuple(invalidates_units),
        stages=stages,
        repacks=tuple(repacks),
        damage=damage,
        listing=listing,
        new=new,
        unlisted=unlisted,
        unlisted_quarantine=unlisted_quarantine,
        removes_unlisted=remove_unlisted,
    )
    if changes and unlisted and not remove_unlisted:
        what = "; ".join([*invalidates_units, *repacks, *first_few(damage, "files"), *first_few(listing)])
        raise ListingError(
            f"{len(unlisted)} recordings of release {previous.name} are not in the input (e.g. {unlisted[0]}), and the "
            f"release has to be packed again: {what}",
            remedy="list the whole corpus, which reuses finished units, keep things as they were, or drop what is not listed "
            "with --remove-unlisted (remove_unlisted=True)",
        )
    return changes


def changed_stages(previous: Release, config: CorpusConfig, models: dict[str, str], code_version: int) -> tuple[str, ...]:
    """The stages that run again on the units of a release, in order. All of them on units of an earlier voxbeam."""
    every = tuple(stage_reads(config))
    try:
        before = CorpusConfig.model_validate(previous.config)
    except ValueError:
        return every
    if previous.code_version < EVIDENCE_VERSION:
        return every
    marks = stage_fingerprints(before, previous.models, previous.code_version)
    run = stages_to_run(marks, stage_fingerprints(config, models, code_version))
    return tuple(stage for stage in every if stage in run)


def _diff_listing(
    store: Store,
    previous: Release,
    recordings: Iterable[Recording],
    stays_out: Callable[[RecordingRow, Recording], bool],
) -> tuple[tuple[str, ...], int, tuple[str, ...], frozenset[str]]:
    """A line for each released recording that is listed differently; how many listed ones are new; the released and the
    quarantined that are not listed."""
    listed, addresses = dict[str, Recording](), set[str]()
    for recording in recordings:
        listed[recording.recording] = recording
        addresses.add(recording.uri)
    new, lines, unlisted, quarantined = len(listed), list[str](), list[str](), list[str]()
    for row in read_rows(store, previous, RecordingRow):
        now = listed.get(row.recording)
        new -= now is not None and (row.status in RELEASED or stays_out(row, now))
        if row.status not in RELEASED:
            if now is None and row.uri not in addresses:
                quarantined.append(row.recording)
        elif now is None:
            unlisted.append(row.recording)
        elif differing := [name for name in LISTED_COLUMNS if getattr(row, name) != getattr(now, name)]:
            values = ", ".join(f"{name} {shorten(getattr(row, name))} → {shorten(getattr(now, name))}" for name in differing)
            lines.append(f"{row.recording}: {values}")
    return tuple(lines), new, tuple(unlisted), frozenset(quarantined)


def _stays_out(row: RecordingRow, now: Recording, config: CorpusConfig) -> bool:
    """Whether a listed recording that is not released is left out again for certain: on purpose, or as the copy of another that
    stays in the corpus.

    What could not be read or processed is tried again, and may succeed: the file, the machine or a limit may be another one.
    """
    if row.status == EXCLUDED:
        return row.recording in config.exclude.recordings
    return row.reason == DUPLICATE and row.uri == now.uri and row.bytes == local_size(now.uri)


def identity_changes(store: Store, previous: Release, release: Release) -> tuple[str, ...]:
    """A line for each identity of the previous release that was joined into another, was divided, or went to another split."""
    if not any(release.labels.get(name) for name in CHANGES):  # the build counted them: mostly none, and then no table is read
        return ()
    before = {row.identity: row for row in read_rows(store, previous, IdentityRow)}
    lines = []
    for row in read_rows(store, release, IdentityRow):
        for old in row.former:
            if old in before:
                lines.append(f"{old} ({before[old].split}) was joined into {row.identity} ({row.split})")
        if row.divided_from is not None:
            lines.append(f"{row.identity} ({row.split}) was divided from {row.divided_from}")
        if row.identity in before and before[row.identity].split != row.split:
            lines.append(f"{row.identity} went from {before[row.identity].split} to {row.split}")
    return tuple(lines)


def first_few(lines: Sequence[str], noun: str = "recordings") -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - _MAX_EXAMPLES
    return [*lines[:_MAX_EXAMPLES], *([f"and {more} more {noun}"] if more > 0 else [])]


def _of_units(models: dict[str, str]) -> dict[str, str]:
    """The models without those that finished units are packed with."""
    return {name: identity for name, identity in models.items() if affects_units(f"{name}.")}


def changed_models(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Models whose hash differs, and libraries whose version differs."""
    lines = [f"model {name}: {_short(old.get(name))} → {_short(new[name])}" for name in sorted(new) if _differs(name, old, new)]
    before, now = (dict(pair.split("=", 1) for pair in models.get("libraries", "").split()) for models in (old, new))
    return lines + [f"{name}: {before.get(name)} → {now[name]}" for name in sorted(now) if before.get(name) != now[name]]


def _differs(name: str, old: dict[str, str], new: dict[str, str]) -> bool:
    return name != "libraries" and old.get(name) != new[name]


def _short(identity: str | None) -> str:
    return identity[:12] if identity and len(identity) == 64 else str(identity)


def repacking_changes(previous: Release, config: CorpusConfig) -> list[str]:
    """Settings and decisions, other than those of a release, with which its finished units are packed again."""
    changed = _changed_keys(previous.config, config.model_dump(mode="json"))
    return [text for key, text in changed if _repacks(key)] + changed_decisions(previous.config, config)[0]


def settings_that_differ(before: Release, after: Release) -> list[str]:
    """Every setting and decision that differs between two releases."""
    plain = [text for _, text in _changed_keys(before.config, after.config)]
    return plain + changed_decisions(before.config, CorpusConfig.model_validate(after.config))[0]


def changed_settings(old: CorpusConfig, new: CorpusConfig) -> list[str]:
    """Settings that differ and that finished units cannot be packed with."""
    changed = _changed_keys(old.model_dump(mode="json"), new.model_dump(mode="json"))
    return [text for key, text in changed if not _repacks(key)]


def _repacks(key: str) -> bool:
    return key.startswith(POLICY_KEYS) and not affects_units(key)


def _changed_keys(old: dict[str, object], new: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Settings that differ, each with a text that says so. Decisions are not among them."""
    before, now = (leaves_by_name({k: v for k, v in tree.items() if k not in (*DECISIONS, "overlays")}) for tree in (old, new))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            yield key, f"{key}: {before.get(key)!r} → {now.get(key)!r}"
