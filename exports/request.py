"""Request: what an export reads and where it writes, and the step that every format shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from voxbeam.corpus import Corpus
from voxbeam.exports.facts import ReleaseFacts
from voxbeam.exports.parts import Part, Sample, part_tables
from voxbeam.exports.sound import SOUNDS, SoundOf, encode, kept_flac, open_sound
from voxbeam.exports.target import Target


@dataclass(kw_only=True)
class ExportRequest:
    """One export of one release."""

    corpus: Corpus
    facts: ReleaseFacts
    target: Target
    sound: str
    """one of SOUNDS"""
    parts: list[Part]
    on_part: Callable[[int, int], None] | None = None
    """called with the parts done and the parts in all"""
    _done: set[Part] = field(default_factory=set)

    @cached_property
    def sound_of(self) -> SoundOf:
        return open_sound(self.sound, self.corpus)

    def flac(self, sample: Sample) -> bytes:
        """A sample's audio as FLAC; kept audio byte for byte as it is."""
        return kept_flac(sample) if self.sound == "kept" else encode(self.sound_of(sample))

    def tables(self, parts: list[Part]) -> Iterator[tuple[Part, pa.Table]]:
        """The rows of some parts, in order. What is not among them counts as done."""
        self._done |= set(self.parts) - set(parts)
        return part_tables(self.corpus.store, self.corpus.release, parts)

    def done(self, part: Part) -> None:
        self._done.add(part)
        if self.on_part is not None:
            self.on_part(len(self._done), len(self.parts))

    def sound_sentence(self, begin: str) -> str:
        """What a reader is told of the audio."""
        if self.sound == "none":
            return " There is no audio; voxbeam decodes the codes."
        codec = f" of {self.corpus.codec_name}" if self.corpus.codec_name is not None else ""
        return f" {begin}{SOUNDS[self.sound]}{codec}, mono, 24 kHz, 16 bit."


class ExportFormat(Protocol):
    """A format: writes the objects of the parts that are not there, and says what the card adds."""

    @property
    def name(self) -> str: ...

    @property
    def sounds(self) -> tuple[str, ...]:
        """Where its audio can come from."""
        ...

    def write(self, request: ExportRequest) -> None: ...

    def metadata(self, request: ExportRequest) -> dict[str, Any]: ...

    def loading(self, request: ExportRequest) -> str: ...
