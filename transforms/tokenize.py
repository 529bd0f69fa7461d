"""Tokenize: the audio of each accepted segment as EnCodec codes, 8 codebooks at 75 frames per second.

Each further codec of the configuration is a stage of its own, `tokenize.<name>`, with a fingerprint of its own.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from voxbeam.models.codec import Codec, load_codec
from voxbeam.models.codec_weights import codec_weights
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.codec_config import TokenizeConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import N_CODEBOOKS, codec_stage
from voxbeam.schemas.segment import Segment
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process


@once_per_process
def load_tokenizer(config: TokenizeConfig, device: str) -> Codec:
    """A codec of the configuration. Raises ModelError if it cannot be loaded, its hash is not the expected one, or its codes
    would not be those of a corpus.
    """
    pin_threads()
    path, sha256 = codec_weights(config.codec)
    codec = load_codec(path, sha256=config.sha256 or sha256, device=device)
    if codec.n_codebooks != N_CODEBOOKS:
        raise ModelError(
            f"the codec {config.codec} has {codec.n_codebooks} codebooks, and a corpus has codes of {N_CODEBOOKS}",
            remedy=f"name a codec of {N_CODEBOOKS} codebooks",
        )
    return codec


def tokenize(codec: Codec, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.int16]]:
    """Codes int16 [8, ceil(n / 320)] of each waveform float32 [n] in [−1, 1] at 24 kHz."""
    return codec.encode(waveforms)


class Tokenize(UnitStage):
    """Fills `codes` of the accepted segments of a unit; with the name of a further codec, those of that in `further_codes`."""

    name = "tokenize"

    def __init__(self, config: TokenizeConfig, device: str, further: str | None = None) -> None:
        super().__init__(None if further is None else f"Tokenize.{further}")  # labels in a job graph differ
        self.config, self.device, self.further = config, device, further
        if further is not None:
            self.name = codec_stage(further)

    def run(self, state: UnitState) -> UnitState:
        accepted = [segment for segment in state.segments if segment.accepted]
        if not accepted:
            return state
        codec = load_tokenizer(self.config, self.device)
        audio = state.require_audio()
        codes = iter(tokenize(codec, [audio.slice24k(s.start_ms, s.end_ms) for s in accepted]))
        return replace(state, segments=tuple(self._fill(s, next(codes)) if s.accepted else s for s in state.segments))

    def _fill(self, segment: Segment, codes: NDArray[np.int16]) -> Segment:
        if self.further is None:
            return replace(segment, codes=codes)
        return replace(segment, further_codes={**segment.further_codes, self.further: codes})
