"""Unit: what one worker processes in one piece, which is a recording or a window of a long one."""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from voxbeam.schemas.errors import Failure
from voxbeam.schemas.fingerprint import with_listing
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.segment import LocalSpeaker


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A window of a recording. When it is decoded, each inner edge moves to a pause at most `margin_ms` away."""

    recording: Recording
    source: SourceInfo
    index: int
    start_ms: int
    end_ms: int
    margin_ms: int
    """how far an inner edge may move, so that it does not fall inside a word"""
    fingerprint: str
    """hash of everything in configuration, models and code that can change the result (schemas/fingerprint.py)"""
    track: int | None = None
    """the channel, where each is a track of its own"""
    text_digest: str = ""
    """hash of the recording's reference text, which its segments are compared with; empty if it has none"""

    def stages(self, stages: Mapping[str, str]) -> dict[str, str]:
        """The fingerprints of stages, for what its recording is listed with."""
        return with_listing(stages, self.recording.language, self.text_digest)

    @property
    def window(self) -> str:
        """A hash of the file and of the place in it. All units of one window are in one folder."""
        track = f":{self.track}" if self.track is not None else ""
        place = f"{self.source.sha256}:{self.start_ms}:{self.end_ms}:{self.margin_ms}{track}"
        return hashlib.sha256(place.encode()).hexdigest()[:32]

    @property
    def name(self) -> str:
        """Name of the unit's result: its window, and a hash of the fingerprint and of the listed id, language and text."""
        listed = f"{self.fingerprint}:{self.recording.recording}:{self.recording.language or ''}:{self.text_digest}"
        return f"{self.window}-{hashlib.sha256(listed.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class SegmentTotals:
    """Number, duration and size of some segments of a unit."""

    segments: int = 0
    ms: int = 0
    bytes: int = 0
    """estimated size in a shard"""

    def __add__(self, other: "SegmentTotals") -> "SegmentTotals":
        return SegmentTotals(segments=self.segments + other.segments, ms=self.ms + other.ms, bytes=self.bytes + other.bytes)


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """Summary of a finished unit, for use without opening its file. It crosses a shuffle as about 2 kB."""

    unit: Unit
    start_ms: int
    """edges after they moved to pauses"""
    end_ms: int
    peak: float = 0.0
    """largest absolute sample"""
    speakers: tuple[LocalSpeaker, ...] = ()
    accepted: dict[str, SegmentTotals] = field(default_factory=dict)
    """by label of the local speaker"""
    rejected: SegmentTotals = SegmentTotals()
    failure: Failure | None = None

    @property
    def accepted_ms(self) -> int:
        return sum(totals.ms for totals in self.accepted.values())

    def to_bytes(self) -> bytes:
        """Encodes for a shuffle. Single-precision embeddings give 1.8 kB; Beam's own coder needs 3.1 kB.

        Of a recording's text, which may be long, only the first of its units brings a copy.
        """
        embeddings = [np.asarray(speaker.embedding, np.float32).tobytes() for speaker in self.speakers]
        unit = self.unit if self.unit.index == 0 else replace(self.unit, recording=replace(self.unit.recording, text=None))
        bare = replace(self, unit=unit, speakers=tuple(replace(speaker, embedding=()) for speaker in self.speakers))
        return pickle.dumps((bare, embeddings), protocol=5)

    @classmethod
    def from_bytes(cls, content: bytes) -> "UnitResult":
        """Decodes what `to_bytes` gave in the same build; it is pickled, so never for bytes of another origin."""
        bare, embeddings = pickle.loads(content)
        pairs = zip(bare.speakers, embeddings, strict=True)
        return replace(bare, speakers=tuple(replace(s, embedding=tuple(np.frombuffer(e, np.float32).tolist())) for s, e in pairs))
