"""Tokenize: the audio of each accepted segment as EnCodec codes, 8 codebooks at 75 frames per second."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.codec import Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import TokenizeConfig
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process


@once_per_process
def load_tokenizer(config: TokenizeConfig, device: str) -> Codec:
    """The codec of the configuration. Raises ModelError if it cannot be loaded or its hash is not the expected one."""
    pin_threads()
    path, sha256 = codec_weights(config.codec)
    return load_codec(path, sha256=config.sha256 or sha256, device=device)


def tokenize(codec: Codec, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int16]]:
    """Codes int16 [8, ceil(n / 320)] of each waveform float32 [n] in [−1, 1] at 24 kHz."""
    return codec.encode(waveforms)


class Tokenize(UnitStage):
    """Fills `codes` of the accepted segments of a unit."""

    name = "tokenize"

    def __init__(self, config: TokenizeConfig, device: str) -> None:
        super().__init__()
        self.config, self.device = config, device

    def run(self, state: UnitState) -> UnitState:
        accepted = [segment for segment in state.segments if segment.accepted]
        if not accepted:
            return state
        codec = load_tokenizer(self.config, self.device)
        audio = state.require_audio()
        codes = iter(tokenize(codec, [audio.slice24k(s.start_ms, s.end_ms) for s in accepted]))
        return replace(state, segments=tuple(replace(s, codes=next(codes)) if s.accepted else s for s in state.segments))
