"""Traces: what a release says of recordings beside their own rows: decisions in its configuration, and identities."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from voxbeam.pipeline.steps.link import assign_split
from voxbeam.schemas.config import PackConfig
from voxbeam.schemas.errors import SchemaError
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.sample_keys import recording_of

_ATTEMPTS = 1_000_000


def clean_decisions(
    config: Mapping[str, Any], recordings: Collection[str], voices: Collection[str], people: Collection[str]
) -> dict[str, Any]:
    """The configuration of a release without exclusions and corrections of recordings, of voices and of people who are gone.

    `people` are speakers and identities.
    """

    def is_gone(kind: str, name: str) -> bool:
        if kind == "recordings":
            return name in recordings
        if kind == "voices":
            return name in voices
        if kind in ("speakers", "identities"):
            return name in people
        return recording_of(name) in recordings

    cleaned = dict(config)
    for section in ("exclude", "corrections"):
        cleaned[section] = {
            kind: {name: why for name, why in (some or {}).items() if not is_gone(kind, name)}
            for kind, some in (config.get(section) or {}).items()
        }
    return cleaned


def clean_identities(
    parts: Mapping[str, list[IdentityRow]],
    voices: Collection[str],
    speech: Mapping[str, tuple[str, int]],
    pack: PackConfig,
) -> tuple[dict[str, list[IdentityRow]], set[str]]:
    """The identities of each part without some voices, and which are gone: those without a voice left, whom nobody names.

    `speech` gives recording and time of every voice. What an identity was estimated from stays as it was, but for sums. A split
    is the hash of a text that may be a name or a voice: where that is of somebody who is gone, the text is replaced by one that
    gives the same split.
    """
    gone = set(voices)
    left: dict[str, list[IdentityRow]] = {}
    dropped: set[str] = set()
    for path, rows in parts.items():
        left[path] = []
        for row in rows:
            if gone.isdisjoint(row.voices):
                left[path].append(row)
                continue
            pairs = [pair for pair in zip(row.voices, row.confidences, strict=True) if pair[0] not in gone]
            if not pairs:
                dropped.add(row.identity)
                continue
            known = [(c, max(1, speech[voice][1])) for voice, c in pairs if c is not None]
            left[path].append(
                replace(
                    row,
                    voices=[voice for voice, _ in pairs],
                    confidences=[confidence for _, confidence in pairs],
                    confidence=round(sum(c * w for c, w in known) / sum(w for _, w in known), 4) if known else None,
                    speech_ms=sum(speech[voice][1] for voice, _ in pairs),
                    recordings=len({speech[voice][0] for voice, _ in pairs}),
                )
            )
    people = {name for rows in parts.values() for row in rows if row.identity in dropped for name in _texts(row)}
    staying = {name for rows in left.values() for row in rows for name in (row.name, *row.voices) if name}
    people -= staying
    gone_texts = people | gone | {speech[voice][0] for voice in gone if voice in speech}
    return {path: [_without(row, dropped, gone_texts, pack) for row in rows] for path, rows in left.items()}, dropped


def _texts(row: IdentityRow) -> set[str]:
    return {text for text in (row.name, row.split_key) if text}


def _without(row: IdentityRow, dropped: set[str], texts: set[str], pack: PackConfig) -> IdentityRow:
    """The row without references to identities that are gone."""
    changes: dict[str, Any] = {}
    if row.nearest in dropped:
        changes |= {"nearest": None, "nearest_similarity": None, "duplicate_probability": None}
    if dropped & set(row.similar):
        changes["similar"] = [name for name in row.similar if name not in dropped]
    if row.divided_from in dropped:
        changes["divided_from"] = None
    if row.split_key in texts:
        changes["split_key"] = _split_key(row, pack)
    return replace(row, **changes) if changes else row


def _split_key(row: IdentityRow, pack: PackConfig) -> str:
    """A text with the split of an identity, made of its own identifier. Raises SchemaError for a split that no text gives."""
    for attempt in range(_ATTEMPTS):
        if assign_split(key := f"{row.identity}#{attempt}", pack) == row.split:
            return key
    raise SchemaError(
        f"{row.identity} is in {row.split}, which the fractions of the release do not give",
        remedy="run `voxbeam release` first, which gives every identity its split",
    )
