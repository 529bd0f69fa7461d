"""Unit: the work that one worker does in one piece — a recording, or a window of a long one."""

import hashlib
import pickle
from dataclasses import dataclass, field, replace

import numpy as np

from voxbeam.schemas.errors import Failure
from voxbeam.schemas.recording import Recording, Source
from voxbeam.schemas.segment import Voice


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A window of a recording. Its nominal edges may move to the nearest pause, by at most `margin_ms`, once it is decoded."""

    recording: Recording
    source: Source
    index: int
    start_ms: int
    end_ms: int
    margin_ms: int
    """how far a nominal edge inside the recording may move, so that no window edge falls inside a word"""
    fingerprint: str
    """hash of everything in the configuration and the models that can change a result"""

    @property
    def name(self) -> str:
        """Name of the unit's result: a hash of source identity, window and configuration."""
        identity = f"{self.source.sha256}:{self.start_ms}:{self.end_ms}:{self.margin_ms}:{self.fingerprint}"
        listed = f":{self.recording.recording}:{self.recording.language or ''}"
        return hashlib.sha256((identity + listed).encode()).hexdigest()[:32]

    @property
    def is_last(self) -> bool:
        return self.end_ms >= self.source.duration_ms


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How much of something a unit made."""

    segments: int = 0
    ms: int = 0
    bytes: int = 0
    """estimated size in a shard"""

    def plus(self, ms: int, size: int = 0) -> "Tally":
        return Tally(segments=self.segments + 1, ms=self.ms + ms, bytes=self.bytes + size)


@dataclass(frozen=True, kw_only=True)
class UnitResult:
    """What is known of a finished unit without opening it. It crosses a shuffle as bytes, about 2 kB."""

    unit: Unit
    start_ms: int
    """true edges, after they moved into pauses"""
    end_ms: int
    peak: float = 0.0
    voices: tuple[Voice, ...] = ()
    accepted: dict[str, Tally] = field(default_factory=dict)
    """samples of each voice"""
    rejected: Tally = Tally()
    failure: Failure | None = None

    @property
    def accepted_ms(self) -> int:
        return sum(tally.ms for tally in self.accepted.values())

    def to_bytes(self) -> bytes:
        """For a shuffle. Embeddings in single precision make it 1.8 kB where Beam's own coder makes 3.1."""
        embeddings = [np.asarray(voice.embedding, np.float32).tobytes() for voice in self.voices]
        bare = replace(self, voices=tuple(replace(voice, embedding=()) for voice in self.voices))
        return pickle.dumps((bare, embeddings), protocol=5)

    @classmethod
    def from_bytes(cls, content: bytes) -> "UnitResult":
        """What `to_bytes` made in the same build."""
        bare, embeddings = pickle.loads(content)
        voices = zip(bare.voices, embeddings, strict=True)
        return replace(bare, voices=tuple(replace(v, embedding=tuple(np.frombuffer(e, np.float32).tolist())) for v, e in voices))
