"""Whois: where the voice of a sound is in a corpus, in every release, and under which consent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from voxbeam.pipeline.takedown.voice_search import HeardVoice, VoiceMatches, embed_sound, find_voices
from voxbeam.safety.basis import basis_of
from voxbeam.safety.gate import enrolled_voice_of
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.sounds import MIN_SIMILARITY, sound_hash
from voxbeam.safety.state import Grant, State, Use, refusal
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.manifest import RecordingRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import load_release, read_release, read_rows, release_numbers, table_batches
from voxbeam.storage.store import Store


@dataclass
class Place:
    """A recording with the voice."""

    recording: str
    voices: list[HeardVoice]
    samples: dict[int, list[str]] = field(default_factory=dict)
    """release → keys of its samples with the voice"""
    shards: dict[int, list[str]] = field(default_factory=dict)
    """release → shards with them"""
    ms: int = 0
    """speech of these samples in the latest release that has them"""
    basis: str = ""
    """why it may be trained on, or why not"""


@dataclass(frozen=True, kw_only=True)
class Whois:
    """What is known of a voice."""

    latest: VoiceMatches
    """voices of the latest release"""
    names: dict[str, str]
    """identity → listed name, where it has one"""
    places: tuple[Place, ...]
    """in order of recording; also those of older releases"""
    grants: tuple[tuple[Grant, float, str], ...]
    """grants of this voice or sound, with the similarity, and why each does not hold; empty if it does"""


def whois(store: Store, wave_S: NDArray[np.float32], ledger: Ledger) -> Whois:
    """Where the voice of a sound [S] at 24 kHz is. Raises ConsentError for a sound, voices or a ledger that cannot be used."""
    sound_D = embed_sound(wave_S)
    latest = load_release(store)
    places: dict[str, Place] = {}
    matches = find_voices(store, latest, sound_D)
    state, now = ledger.state_and_time() if ledger.exists() else (None, ledger.clock())
    for number in release_numbers(store):
        release = latest if number == latest.number else read_release(store, number)
        found = matches if number == latest.number else find_voices(store, release, sound_D)
        _add_places(store, release, found.matches, places, ledger, state, now)
    return Whois(
        latest=matches,
        names={row.identity: row.name for row in read_rows(store, latest, IdentityRow) if row.name},
        places=tuple(places[name] for name in sorted(places)),
        grants=tuple(_grants(ledger, state, sound_hash(wave_S), sound_D, now)) if state is not None else (),
    )


def _add_places(
    store: Store,
    release: Release,
    matches: Sequence[HeardVoice],
    places: dict[str, Place],
    ledger: Ledger,
    state: State | None,
    now: datetime,
) -> None:
    voices: dict[str, list[HeardVoice]] = defaultdict(list)
    for one in matches:
        voices[one.recording].append(one)
    if not voices:
        return
    for row in read_rows(store, release, RecordingRow):
        if row.recording in voices:
            place = places.setdefault(row.recording, Place(row.recording, voices[row.recording]))
            place.samples[release.number], place.ms = [], 0
            basis = basis_of(row.as_listed(), state, now, ledger.keys)
            place.basis = f"{basis.kind}: {basis.why}"
    speakers = {(one.recording, one.speaker) for one in matches}
    shards: dict[str, set[str]] = defaultdict(set)
    for batch in table_batches(store, release, SampleRow, ["key", "recording", "speaker", "shard", "duration_ms"]):
        for sample in batch.to_pylist():
            if (name := sample["recording"], sample["speaker"]) in speakers and name in places:
                places[name].samples[release.number].append(sample["key"])
                places[name].ms += sample["duration_ms"]
                shards[name].add(sample["shard"])
    for name, paths in shards.items():
        places[name].shards[release.number] = sorted(paths)


def _grants(
    ledger: Ledger, state: State, name: str, sound_D: NDArray[np.float32], now: datetime
) -> Sequence[tuple[Grant, float, str]]:
    """Grants that name the sound, or whose enrolled voice has the similarity to it that the gate asks of windows of a prompt."""
    found = []
    for grant in state.grants.values():
        voice_E = enrolled_voice_of(ledger, grant)
        similarity = float(sound_D @ voice_E) if voice_E is not None else 0.0
        if name in grant.sounds or similarity >= MIN_SIMILARITY:
            uses = [Use(s, p, m) for s in sorted(grant.scopes) for p in sorted(grant.purposes) for m in sorted(grant.models)]
            refusals = [refusal(state, grant, use, now) for use in uses]
            found.append((grant, round(similarity, 4), "" if "" in refusals else refusals[0]))
    return sorted(found, key=lambda one: (-one[1], one[0].digest))
