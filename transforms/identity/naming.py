"""Naming: identifiers and splits of identities, kept from release to release.

Which voices are one person follows from the voices alone. What that person is called, and which split it is in, follows the
previous release: an identifier stays with the identity that has most of its speech. Where two are joined, the identifier of the
one that has a listed name, else of the one with more speech, goes on; the other is listed as `former`. Where one is divided,
the rest gets a new identifier and says what it is divided from.

A split is the hash of a text that an identity keeps: its listed name, or its first voice. An identity goes to the most held-out
split of those that any of its voices were in (test, then valid, then train), so that nothing that was held out is ever trained
on. Identities that may be one person in spite of a constraint, because they share a name or sound alike in one recording, are in
one split.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from voxbeam.schemas.identity import IdentityRow
from voxbeam.transforms.identity.partition import Partition
from voxbeam.transforms.identity.voices import Voices

HELD_OUT = ("test", "valid", "train")
"""splits, the most held-out first"""
CHANGES = ("joined", "divided", "moved")
"""what may become of an identity of the previous release"""
SplitOf = Callable[[str], str]


@dataclass(frozen=True)
class Known:
    """An identity of the previous release."""

    identity: str
    named: bool
    speech_ms: int
    split: str
    split_key: str
    former: tuple[str, ...] = ()


@dataclass
class Earlier:
    """The identities of the previous release, and which voice is of which."""

    identities: dict[str, Known] = field(default_factory=dict)
    of_voice: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[IdentityRow]) -> "Earlier":
        earlier = cls()
        for row in rows:
            earlier.identities[row.identity] = Known(
                row.identity, row.name is not None, row.speech_ms, row.split, row.split_key, tuple(row.former)
            )
            for voice in row.voices:
                earlier.of_voice[voice] = row.identity
        return earlier


@dataclass
class _Named:
    """An identity on its way to a row."""

    members: list[int]
    name: str | None
    speaker: str
    identity: str = ""
    former: list[str] = field(default_factory=list)
    divided_from: str | None = None
    kept_keys: list[str] = field(default_factory=list)
    split_key: str = ""


def name_identities(
    voices: Voices, speakers: Sequence[str], names: Sequence[str | None], found: Partition, earlier: Earlier, split_of: SplitOf
) -> list[IdentityRow]:
    """The identities as rows, in order of their first voices. `speakers` and `names` are those of the voices, in their order."""
    members: list[list[int]] = [[] for _ in range(len(found.nearest_I))]
    for voice, identity in enumerate(found.identity_N.tolist()):
        members[identity].append(voice)
    identities = [
        _Named(group, next((names[v] for v in group if names[v] is not None), None), speakers[group[0]]) for group in members
    ]
    _keep_identifiers(identities, voices, found, earlier)
    _choose_splits(identities, speakers, names, voices, found, split_of)
    similar: dict[int, list[str]] = defaultdict(list)
    for a, b in found.similar.tolist():
        similar[a].append(identities[b].identity)
        similar[b].append(identities[a].identity)
    conflicting = {names[v] for v in np.flatnonzero(found.conflict_N).tolist()}
    return [
        _row(number, one, voices, found, identities, split_of(one.split_key), sorted(similar[number]), one.name in conflicting)
        for number, one in enumerate(identities)
    ]


def count_changes(rows: Sequence[IdentityRow], earlier: Earlier) -> dict[str, float]:
    """How many identities of the previous release were joined into others, were divided, and went to another split."""
    was = earlier.identities
    moved = sum(row.identity in was and was[row.identity].split != row.split for row in rows)
    joined = [old for row in rows for old in row.former if old in was]
    divided = {row.divided_from for row in rows if row.divided_from is not None}
    return dict(zip(CHANGES, (len(joined), len(divided), moved), strict=True))


def _keep_identifiers(identities: list[_Named], voices: Voices, found: Partition, earlier: Earlier) -> None:
    speech: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for number, one in enumerate(identities):
        for voice in one.members:
            if (before := earlier.of_voice.get(voices.keys[voice])) is not None:
                speech[before][number] += int(voices.speech_ms_N[voice])
    homes: dict[int, list[Known]] = defaultdict(list)
    for before, shares in speech.items():
        homes[max(shares, key=lambda number: (shares[number], -number))].append(earlier.identities[before])
    used = set(earlier.identities) | {old for known in earlier.identities.values() for old in known.former}
    for number, claims in homes.items():
        first = min(claims, key=lambda known: (not known.named, -known.speech_ms, known.identity))
        one = identities[number]
        one.identity = first.identity
        joined = [known.identity for known in claims if known is not first]
        one.former = sorted({*joined, *(old for known in claims for old in known.former)})
    origins: dict[int, list[str]] = defaultdict(list)
    for before in sorted(speech):
        for number in speech[before]:
            origins[number].append(before)
    for number, one in enumerate(identities):
        one.kept_keys = [earlier.identities[before].split_key for before in origins[number]]
        if one.identity:
            continue
        if origins[number]:
            one.divided_from = max(origins[number], key=lambda before: speech[before][number])
        is_named = one.name is not None and not found.conflict_N[one.members].any()
        one.identity = _new_identifier(f"name:{one.name}" if is_named else f"voice:{voices.keys[one.members[0]]}", used)
        used.add(one.identity)


def _new_identifier(origin: str, used: set[str]) -> str:
    """An identifier that follows from a name or voice, and that no identity has or had."""
    for attempt in range(len(used) + 1):
        text = origin if attempt == 0 else f"{origin}#{attempt}"
        identifier = "i" + hashlib.sha256(text.encode()).hexdigest()[:16]
        if identifier not in used:
            return identifier
    raise AssertionError("more attempts than identifiers")


def _choose_splits(
    identities: list[_Named],
    speakers: Sequence[str],
    names: Sequence[str | None],
    voices: Voices,
    found: Partition,
    split_of: SplitOf,
) -> None:
    """Gives every identity the text that chooses its split, the same to all that may be one person."""
    root = list(range(len(identities)))

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    def unite(a: int, b: int) -> None:
        low, high = sorted((find(a), find(b)))
        root[high] = low

    by_speaker: dict[str, int] = {}
    for number, one in enumerate(identities):
        for voice in one.members:
            unite(by_speaker.setdefault(speakers[voice], number), number)
    for a, b in found.similar.tolist():
        recordings = ({int(voices.recording_N[v]) for v in identities[number].members} for number in (a, b))
        if set.intersection(*recordings):
            unite(a, b)
    families: dict[int, list[_Named]] = defaultdict(list)
    for number, one in enumerate(identities):
        families[find(number)].append(one)
    for family in families.values():
        keys = sorted({key for one in family for key in one.kept_keys})
        if not keys:
            keys = sorted({one.name for one in family if one.name is not None}) or [min(one.speaker for one in family)]
        chosen = min(keys, key=lambda key: (HELD_OUT.index(split_of(key)), key))
        for one in family:
            one.split_key = chosen


def _row(
    number: int,
    one: _Named,
    voices: Voices,
    found: Partition,
    identities: list[_Named],
    split: str,
    similar: list[str],
    conflict: bool,
) -> IdentityRow:
    confidences = [_or_none(found.confidence_N[voice]) for voice in one.members]
    known = [(c, max(1, int(voices.speech_ms_N[v]))) for c, v in zip(confidences, one.members, strict=True) if c is not None]
    near = int(found.nearest_I[number])
    return IdentityRow(
        identity=one.identity,
        name=one.name,
        split=split,
        split_key=one.split_key,
        speech_ms=sum(int(voices.speech_ms_N[voice]) for voice in one.members),
        recordings=len({int(voices.recording_N[voice]) for voice in one.members}),
        voices=[voices.keys[voice] for voice in one.members],
        confidences=confidences,
        confidence=round(sum(c * w for c, w in known) / sum(w for _, w in known), 4) if known else None,
        duplicate_probability=_or_none(found.duplicate_I[number]),
        nearest=identities[near].identity if near >= 0 else None,
        nearest_similarity=_or_none(found.nearest_similarity_I[number]),
        similar=similar,
        label_conflict=conflict and one.name is not None,
        former=one.former,
        divided_from=one.divided_from,
    )


def _or_none(value: float) -> float | None:
    """A number with four digits, which is more than it means; None for NaN."""
    return None if np.isnan(value) else round(float(value), 4)
