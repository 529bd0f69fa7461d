"""Recording: one audio file as listed, and what its bytes are."""

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import pyarrow as pa

from voxbeam.schemas.columns import column, require

KEY_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
LISTED_DURATION = "duration"
"""column of a listing that states how long a recording is, in seconds in NeMo's manifests and most others"""
_NO_NAMES = frozenset(
    [
        "#n/a",
        "-",
        "--",
        ".",
        "<na>",
        "<unk>",
        "?",
        "??",
        "anonymous",
        "n/a",
        "na",
        "nan",
        "nil",
        "no_speaker",
        "none",
        "not_available",
        "null",
        "other",
        "speaker",
        "speaker_unknown",
        "spk",
        "tba",
        "tbd",
        "undefined",
        "unk",
        "unkn",
        "unknown",
        "unknown_speaker",
        "unnamed",
        "various",
    ]
)


def names_nobody(speaker: str) -> bool:
    """Whether a speaker's name says that nobody knows it: all of those recordings would else be one person's."""
    return not speaker.strip() or "_".join(speaker.casefold().split()) in _NO_NAMES


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording as listed. Only `recording` and `uri` are always known."""

    VERSION: ClassVar[int] = 3

    recording: str = column(pa.string(), "identifier of [A-Za-z0-9_-], unique in a corpus")
    uri: str = column(pa.string(), "location of the audio: a local path or an s3://, gs:// or az:// address")
    speaker: str | None = column(pa.string(), "speaker, as listed", default=None)
    language: str | None = column(pa.string(), "language as listed, ISO 639-1", default=None)
    license: str | None = column(pa.string(), "license of the recording, SPDX identifier", default=None)
    consent_basis: str | None = column(
        pa.string(), "why the speaker's voice may be used, e.g. consent, public-domain, license", default=None
    )
    title: str | None = column(pa.string(), "book or program, as listed", default=None)
    source_snr_db: float | None = column(pa.float32(), "SNR as stated by the source (LibriLight)", unit="dB", default=None)
    text: str | None = column(pa.string(), "reference text, as listed", default=None)
    extra: list[tuple[str, str]] | None = column(
        pa.map_(pa.string(), pa.string()),
        "further columns of the listing: duration, and those that listing.keep_columns names",
        default=None,
    )

    def check(self) -> Self:
        require(
            bool(self.recording) and set(self.recording) <= set(KEY_ALPHABET),
            f"recording id {self.recording!r} is not made of letters, digits, '-' and '_'; list it under another id",
        )
        require(bool(self.uri), f"recording {self.recording} has no uri; give its path or address")
        return self

    @property
    def listed_seconds(self) -> float | None:
        """How long the listing says that it is. None where it says nothing, or not in seconds."""
        try:
            seconds = float(dict(self.extra or []).get(LISTED_DURATION, "nan"))
        except ValueError:
            return None
        return seconds if 0 < seconds < math.inf else None


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """Identity and audio format of a recording's file, as found by probing it."""

    sha256: str
    """of the file; empty if it was probed without reading all of it"""
    bytes: int
    format: str
    """container, e.g. `flac`"""
    sample_rate: int
    """Hz"""
    channels: int
    frames: int
    """samples per channel that decoding yields"""
    duration_ms: int
    decoder: str
    """library that decodes its windows"""
    etag: str | None = None
    """version of a bucket's object when it was hashed"""
    channel_policy: str = "mono"
    """how its channels make its sound (transforms/audio/channels.py)"""
    channel: int | None = None
    """the only channel that is used; None if all are"""

    @property
    def tracks(self) -> tuple[int | None, ...]:
        """The channels that are processed each on its own; just None where the recording is one track."""
        return tuple(range(self.channels)) if self.channel_policy == "separate" else (None,)
