"""Copies of a sound by codecs and a vocoder: the embedded codec, Griffin-Lim, and Lyra.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import soxr
import torch
import torchaudio
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

Wave = NDArray[np.float32]
LYRA_FRAME = 320
LYRA_STAGES = {3.2: 16, 6.0: 30, 9.2: 46}
"""kbit/s and stages of its quantizer"""


@cache
def _codec() -> Codec:
    return load_codec(EMBEDDED_WEIGHTS)


def embedded(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, str]:
    """The embedded codec with 8, 4 or 2 of its codebooks."""
    books = int(rng.choice([8, 8, 4, 2]))
    codes_KT = _codec().encode([wave_S])[0]
    return _codec().decode([codes_KT[:books]])[0][: len(wave_S)], f"codec {0.75 * books:g} kbit/s"


def griffin_lim(wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, str]:
    """Magnitudes of 80 to 128 mel bands, and phases that fit them."""
    size, bands = int(rng.choice([1024, 1280, 2048])), int(rng.choice([80, 100, 128]))
    window = torch.hann_window(size)
    hop = size // 4
    magnitudes = torch.stft(torch.from_numpy(wave_S), size, hop, window=window, return_complex=True).abs()
    mel = torchaudio.functional.melscale_fbanks(size // 2 + 1, 0, CODEC_RATE / 2, bands, CODEC_RATE)
    smooth = (torch.linalg.pinv(mel.T) @ (mel.T @ magnitudes)).clamp(min=0)
    made = torchaudio.functional.griffinlim(
        smooth,
        window,
        size,
        hop,
        size,
        power=1.0,
        n_iter=int(rng.integers(8, 24)),
        momentum=0.99,
        length=len(wave_S),
        rand_init=True,
    )
    return made.numpy(), "Griffin-Lim"


class Lyra:
    """Lyra v2 from the files of FOLDER; needs ai-edge-litert."""

    def __init__(self, folder: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        names = ("soundstream_encoder", "quantizer", "lyragan")
        self.parts = [Interpreter(str(folder / f"{name}.tflite"), num_threads=1) for name in names]

    def __call__(self, wave_S: Wave, rng: np.random.Generator) -> tuple[Wave, str]:
        kbps = float(rng.choice(list(LYRA_STAGES)))
        encoder, quantizer, decoder = self.parts
        encode, quantize = encoder.get_signature_runner(), quantizer.get_signature_runner("encode")
        dequantize, decode = quantizer.get_signature_runner("decode"), decoder.get_signature_runner()
        for part in (encoder, decoder):
            part.reset_all_variables()
        low = np.asarray(soxr.resample(wave_S, CODEC_RATE, ASR_RATE), np.float32)
        frames = []
        for start in range(0, len(low) - LYRA_FRAME + 1, LYRA_FRAME):
            features = encode(input_audio=low[None, start : start + LYRA_FRAME])["output_0"]
            found = quantize(input_frames=features, num_quantizers=np.array(LYRA_STAGES[kbps], np.int32))
            indices = next(value for value in found.values() if value.dtype == np.int32)
            frames.append(decode(input_audio=dequantize(encoding_indices=indices)["output_0"])["output_0"][0])
        made = soxr.resample(np.concatenate(frames), ASR_RATE, CODEC_RATE)
        return np.resize(np.asarray(made, np.float32), len(wave_S)), f"Lyra {kbps:g} kbit/s"


Copy = Callable[[Wave, np.random.Generator], tuple[Wave, str]]
