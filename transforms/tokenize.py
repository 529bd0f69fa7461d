"""Tokenize: accepted segments to EnCodec codes, 8 codebooks at 75 frames a second."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.codec import Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import TokenizeConfig
from voxbeam.transforms.base import UnitStage, UnitWork, once_per_process


@once_per_process
def load_tokenizer(config: TokenizeConfig, device: str) -> Codec:
    """The codec that the configuration names, checked against its hash."""
    pin_threads()
    path, sha256 = codec_weights(config.codec)
    return load_codec(path, sha256=config.sha256 or sha256, device=device)


def tokenize(codec: Codec, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int16]]:
    """Codes int16 [8, ceil(n / 320)] of each waveform float32 [n] at 24 kHz."""
    return codec.encode(waveforms)


class Tokenize(UnitStage):
    """Fills the `codes` of every accepted segment."""

    name = "tokenize"

    def __init__(self, config: TokenizeConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, work: UnitWork) -> UnitWork:
        accepted = [segment for segment in work.segments if segment.accepted]
        if not accepted:
            return work
        codec = load_tokenizer(self.config, self.device)
        codes = iter(tokenize(codec, [work.sound.slice24k(s.start_ms, s.end_ms) for s in accepted]))
        return replace(work, segments=tuple(replace(s, codes=next(codes)) if s.accepted else s for s in work.segments))
