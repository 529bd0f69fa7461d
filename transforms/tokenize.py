"""Tokenize: accepted segments to EnCodec codes, 8 codebooks at 75 frames a second."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from encodec.model import ROOT_URL as ENCODEC_ROOT_URL
from numpy.typing import NDArray

from assets.encodec_model import EMBEDDED_WEIGHTS, ENCODEC_24KHZ_FILE, ENCODEC_24KHZ_SHA256, Codec, load_codec
from assets.resolve import downloaded, local_model
from assets.threads import pin_threads
from schemas.config import TokenizeConfig
from transforms.stage import UnitStage, UnitWork, once_per_process

ENCODEC_24KHZ_URL = f"{ENCODEC_ROOT_URL}{ENCODEC_24KHZ_FILE}"


@once_per_process
def load_tokenizer(config: TokenizeConfig, device: str) -> Codec:
    """The codec that the configuration names, checked against its hash."""
    pin_threads()
    path, sha256 = codec_weights(config.codec)
    return load_codec(path, sha256=config.sha256 or sha256, device=device)


def codec_weights(codec: str) -> tuple[Path, str | None]:
    """Local file of a codec and the hash it must have, if that is known: embedded, EnCodec's own, a path or a bucket."""
    if codec == "embedded":
        return EMBEDDED_WEIGHTS, None
    if codec == "encodec_24khz":
        return downloaded(ENCODEC_24KHZ_URL), ENCODEC_24KHZ_SHA256
    path = local_model(codec)
    if not path.is_file():
        raise FileNotFoundError(f"no codec {codec!r}: give a path, a bucket address, 'embedded' or 'encodec_24khz'")
    return path, None


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
