"""Tokenize: accepted segments to EnCodec codes, 8 codebooks at 75 frames a second."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from encodec.model import ROOT_URL as ENCODEC_ROOT_URL
from numpy.typing import NDArray

from assets.encodec_model import EMBEDDED_WEIGHTS, ENCODEC_24KHZ_FILE, ENCODEC_24KHZ_SHA256, Codec, load_codec
from assets.resolve import downloaded, hub_file, local_model
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
    """Local file of a codec and the hash it must have, if that is known.

    `codec` is 'embedded', 'encodec_24khz' (from the address at which it was published), a path, a bucket address, or
    `owner/repository/file` of a hub. Raises OSError, naming the remedy, when there is no such file.
    """
    if codec == "embedded":
        return EMBEDDED_WEIGHTS, None
    if codec == "encodec_24khz":
        return downloaded(ENCODEC_24KHZ_URL), ENCODEC_24KHZ_SHA256
    path = local_model(codec)
    if path.is_file():
        return path, None
    if codec.count("/") >= 2 and not Path(codec).is_absolute() and not codec.startswith("."):
        return hub_file(codec), None
    raise FileNotFoundError(
        f"no codec {codec!r}: give 'embedded', 'encodec_24khz', a path, a bucket address, or a hub's owner/repository/file"
    )


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
