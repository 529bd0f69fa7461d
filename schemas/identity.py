"""Identity: the voices of a corpus, and which of them are one person. Rows of two tables of a release."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import pyarrow as pa

from voxbeam.schemas.columns import column, require
from voxbeam.schemas.formats import SPLITS

MAX_MEAN_SIMILARITY = 0.1
"""of two identities of a release: above it they are more alike than persons of the calibration, whose similarities then tell
less. Ten of a hundred such persons have at most 0.05, in 300 draws; of a hundred others, 0.07; 40 synthetic voices 0.19"""


def doubt_of_estimates(labels: Mapping[str, float]) -> str | None:
    """Why the purity and the uniqueness that a release estimates are not to be believed; None if nothing speaks against them."""
    mean = labels.get("mean_similarity")
    if mean is None or mean <= MAX_MEAN_SIMILARITY:
        return None
    return (
        f"Identities are doubtful: the voices are more alike (mean similarity {mean:.2f}) than persons of the calibration (at "
        f"most {MAX_MEAN_SIMILARITY}), as synthetic voices are. Different voices may be one identity; the estimates of purity "
        "and uniqueness do not see it. Remedy: list the speakers, or calibrate with such speech (docs/identities.md)"
    )


def voice_key(recording: str, number: int) -> str:
    """Key of a voice, `<recording>_v<number>`; number 1 has the most speech of the recording."""
    return f"{recording}_v{number}"


def recording_of_voice(voice: str) -> str:
    """The recording of a voice, by its key."""
    return voice.rpartition("_v")[0]


def voice_of(recording: str, speaker: str) -> str:
    """Key of the voice of a recording that a sample names as its speaker: only the first can have a listed name."""
    prefix, _, number = speaker.rpartition("_v")
    return speaker if prefix == recording and number.isdigit() else voice_key(recording, 1)


@dataclass(frozen=True, kw_only=True)
class VoiceRow:
    """A voice of a recording: what the diarizer hears as one speaker, linked across its windows. It never changes."""

    VERSION: ClassVar[int] = 1

    voice: str = column(pa.string(), "`<recording>_v<number>`; number 1 has the most speech of the recording")
    recording: str = column(pa.string(), "identifier of the recording")
    speaker: str = column(pa.string(), "what samples call it: the listed name for number 1, else the voice")
    name: str | None = column(pa.string(), "speaker as listed, for number 1 of a recording that is listed with one", default=None)
    speech_ms: int = column(pa.int64(), "time in which it talks alone", unit="ms")
    embedding: bytes | None = column(
        pa.binary(), "speaker embedding of length 1, float16; null if there is too little speech", default=None
    )

    def check(self) -> Self:
        require(self.voice.startswith(f"{self.recording}_v"), f"{self.voice} is not a voice of {self.recording}")
        require(self.speech_ms >= 0, f"{self.voice}: its speech is negative")
        require(len(self.embedding or b"") % 2 == 0, f"{self.voice}: its embedding is cut off")
        return self


@dataclass(frozen=True, kw_only=True)
class IdentityRow:
    """A person, as far as voices and listed names tell. Made anew in every release, from all of its voices."""

    VERSION: ClassVar[int] = 1

    identity: str = column(pa.string(), "identifier of the person, kept from release to release")
    name: str | None = column(pa.string(), "listed name of its voices; null if none has one", default=None)
    split: str = column(pa.string(), "train, valid or test; everything of an identity is in it")
    split_key: str = column(pa.string(), "text whose hash chooses the split; kept from release to release")
    speech_ms: int = column(pa.int64(), "speech of its voices", unit="ms")
    recordings: int = column(pa.int32(), "number of recordings with it")
    voices: list[str] = column(pa.list_(pa.string()), "its voices, in order")
    confidences: list[float | None] = column(
        pa.list_(pa.float32()),
        "for each voice, the probability that it belongs here and nowhere else; null without embedding",
    )
    confidence: float | None = column(
        pa.float32(), "mean of these, weighted by speech; null if none of its voices has an embedding", default=None
    )
    duplicate_probability: float | None = column(
        pa.float32(),
        "probability that the most similar other identity is the same person; null without embedding",
        default=None,
    )
    nearest: str | None = column(pa.string(), "that other identity", default=None)
    nearest_similarity: float | None = column(pa.float32(), "mean similarity of its voices to those of that one", default=None)
    similar: list[str] = column(
        pa.list_(pa.string()),
        "identities that sound like the same person, and are kept apart by names or by a recording of both",
    )
    label_conflict: bool = column(
        pa.bool_(), "its name also stands for a clearly different voice, which is an identity of its own"
    )
    former: list[str] = column(pa.list_(pa.string()), "identities of earlier releases that were joined into this one")
    divided_from: str | None = column(
        pa.string(),
        "identity of the previous release that had its voices, and goes on without them",
        default=None,
    )

    def check(self) -> Self:
        require(self.split in SPLITS, f"{self.identity}: the split {self.split!r} is none of {SPLITS}")
        require(
            bool(self.voices) and len(self.voices) == len(self.confidences),
            f"{self.identity}: voices and confidences differ in number",
        )
        return self
