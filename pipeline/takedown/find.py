"""Find: the recordings of a person in a release, by identifier, by name and by voice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voxbeam.pipeline.takedown.alike import skeleton
from voxbeam.pipeline.takedown.voice_search import HeardVoice, embed_sound, find_near, find_voices
from voxbeam.schemas.errors import NotInCorpusError
from voxbeam.schemas.identity import IdentityRow, VoiceRow, recording_of_voice
from voxbeam.schemas.manifest import RELEASED, RecordingRow
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows, table_batches
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class FoundRecording:
    """A recording with a person."""

    recording: str
    sha256: str | None
    """of its file"""
    status: str
    why: tuple[str, ...]
    """how it was found"""
    ms: int
    """its duration"""
    others: tuple[str, ...]
    """other speakers in it, whose speech goes too"""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A person in a release."""

    recordings: tuple[FoundRecording, ...]
    release: int
    """its number"""
    near: tuple[HeardVoice, ...]
    """voices that may be the person, and that nothing is done to"""
    alike: tuple[str, ...]
    """names that look like the person's, and that nothing is done to"""

    @property
    def hashes(self) -> dict[str, str | None]:
        """Recording → SHA-256 of its file."""
        return {one.recording: one.sha256 for one in self.recordings}


def find_person(
    store: Store,
    release: Release,
    *,
    recordings: Sequence[str] = (),
    speakers: Sequence[str] = (),
    sounds: Sequence[NDArray[np.float32]] = (),
) -> Found:
    """The recordings that are named, or that a speaker, or the voice of a sound [S] at 24 kHz, is in.

    A speaker is a name of the samples or of the listing; all voices of that person's identity belong to it. Raises
    NotInCorpusError for a recording or a speaker that the release does not have, and for a sound whose voice it does not have.
    Voices that stay are compared with the person's: those of the sound, of the speaker, or of recordings with one voice.
    """
    why: dict[str, set[str]] = defaultdict(set)
    for name in recordings:
        why[name].add("named")
    taken = set[str]()  # voices
    _find_speakers(store, release, speakers, why, taken)
    near: dict[str, HeardVoice] = {}
    for wave_S in sounds:
        heard = find_voices(store, release, embed_sound(wave_S))
        if not heard.matches:
            nearest = f"; the nearest is {heard.near[0].voice} ({heard.near[0].similarity:.2f})" if heard.near else ""
            raise NotInCorpusError(
                f"no voice of release {release.name} has the similarity of {heard.threshold:.2f} to the sound{nearest}",
                remedy="give another recording of the person, or name speakers or recordings; nothing was taken down",
            )
        for one in heard.matches:
            taken.add(one.voice)
            how = f"its identity {one.identity} does" if one.by_identity else f"similarity {one.similarity:.2f}"
            why[one.recording].add(f"{one.voice} has this voice ({how})")
        near |= {one.voice: one for one in heard.near}
    found = _rows(store, release, why, taken)
    if missing := sorted(why.keys() - {one.recording for one in found}):
        raise NotInCorpusError(
            f"release {release.name} has no recording {', '.join(missing[:3])}",
            remedy="take the name from the column `recording` of its tables; nothing was taken down",
        )
    here = {one.recording for one in found}
    for one in find_near(store, release, taken or _lone_voices(store, release, here), here):
        near[one.voice] = max(one, near.get(one.voice, one), key=lambda heard: heard.similarity)
    left = sorted((one for one in near.values() if one.recording not in here), key=lambda one: -one.similarity)
    return Found(recordings=tuple(found), release=release.number, near=tuple(left), alike=_alike(store, release, speakers, here))


def _alike(store: Store, release: Release, speakers: Sequence[str], recordings: set[str]) -> tuple[str, ...]:
    """Names of a release, of other recordings, that look like those of speakers."""
    wanted, found = {skeleton(name) for name in speakers}, set[str]()
    for record, columns in ((RecordingRow, ["speaker"]), (VoiceRow, ["speaker", "name"])) if wanted else ():
        for batch in table_batches(store, release, record, ["recording", *columns]):
            for row in batch.to_pylist():
                if row["recording"] not in recordings:
                    found |= {row[name] for name in columns if row[name]}
    return tuple(sorted(name for name in found if skeleton(name) in wanted))


def _lone_voices(store: Store, release: Release, recordings: set[str]) -> set[str]:
    """The voices of recordings that have no other: those are of the person."""
    voices: dict[str, list[str]] = defaultdict(list)
    for batch in table_batches(store, release, VoiceRow, ["voice", "recording"]):
        for row in batch.to_pylist():
            if row["recording"] in recordings:
                voices[row["recording"]].append(row["voice"])
    return {some[0] for some in voices.values() if len(some) == 1}


def _find_speakers(store: Store, release: Release, speakers: Sequence[str], why: dict[str, set[str]], taken: set[str]) -> None:
    """Adds the recordings and voices of speakers, and those of their identities."""
    wanted, missing = set(speakers), set(speakers)
    if not wanted:
        return
    named: dict[str, tuple[str, str]] = {}  # voice → speaker, recording
    for batch in table_batches(store, release, VoiceRow, ["voice", "recording", "speaker", "name"]):
        for row in batch.to_pylist():
            if asked := wanted & {row["speaker"], row["name"]}:
                named[row["voice"]] = (next(iter(asked)), row["recording"])
                missing -= asked
    for batch in table_batches(store, release, RecordingRow, ["recording", "speaker", "status"]):
        for row in batch.to_pylist():
            if row["speaker"] in wanted and row["status"] not in RELEASED:
                why[row["recording"]].add(f"listed as {row['speaker']}, {row['status']}")
                missing -= {row["speaker"]}
    for voice, (speaker, recording) in named.items():
        taken.add(voice)
        why[recording].add(f"speaker {speaker}")
    for identity in read_rows(store, release, IdentityRow):
        if known := sorted(named.keys() & set(identity.voices)):
            for voice in identity.voices:
                if voice not in named:
                    taken.add(voice)
                    why[recording_of_voice(voice)].add(
                        f"{voice} is the same person as {named[known[0]][0]} ({identity.identity})"
                    )
    if missing:
        raise NotInCorpusError(
            f"release {release.name} has no speaker {', '.join(sorted(missing)[:3])}",
            remedy="take the name from the column `speaker` of its tables; nothing was taken down",
        )


def _rows(store: Store, release: Release, why: dict[str, set[str]], taken: set[str]) -> list[FoundRecording]:
    speakers: dict[str, set[str]] = defaultdict(set)
    known: dict[str, set[str]] = defaultdict(set)
    for batch in table_batches(store, release, VoiceRow, ["voice", "recording", "speaker"]):
        for row in batch.to_pylist():
            if row["recording"] in why:
                (known if row["voice"] in taken else speakers)[row["recording"]].add(row["speaker"])
    found = []
    for batch in table_batches(store, release, RecordingRow, ["recording", "sha256", "status", "duration_ms"]):
        for row in batch.to_pylist():
            if (name := row["recording"]) in why:
                others = sorted(speakers[name]) if known[name] else ()
                found.append(
                    FoundRecording(
                        recording=name, sha256=row["sha256"], status=row["status"], why=tuple(sorted(why[name])),
                        ms=row["duration_ms"] or 0, others=tuple(others),
                    )
                )  # fmt: skip
    return sorted(found, key=lambda one: one.recording)
