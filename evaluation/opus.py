"""The Opus codec (RFC 6716, libopus through PyAV), as a baseline."""

from __future__ import annotations

import io

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from voxbeam.schemas.formats import CODEC_RATE

OPUS_RATE = 48_000
"""sample rate in Hz of every Opus decoder's output"""
PACKET_SAMPLES = CODEC_RATE // 50
"""samples of a packet: 20 ms"""


def opus_roundtrip(wave_S: NDArray[np.float32], kbps: float) -> tuple[NDArray[np.float32], float]:
    """Speech [S] at 24 kHz after encoding and decoding at `kbps`, aligned with the input; and the kbit/s of its packets."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=CODEC_RATE, layout="mono", options={"application": "voip"})
        stream.bit_rate = round(kbps * 1000)
        padded_S = np.pad(wave_S, (0, -len(wave_S) % PACKET_SAMPLES))
        size = 0
        for start in range(0, len(padded_S), PACKET_SAMPLES):
            frame = av.AudioFrame.from_ndarray(padded_S[None, start : start + PACKET_SAMPLES], format="flt", layout="mono")
            frame.sample_rate, frame.pts = CODEC_RATE, start
            for packet in stream.encode(frame):
                size += packet.size
                container.mux(packet)
        for packet in stream.encode(None):
            size += packet.size
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    sound_S = soxr.resample(decoded.astype(np.float32), OPUS_RATE, CODEC_RATE)[: len(wave_S)]
    return np.pad(sound_S, (0, len(wave_S) - len(sound_S))), size * 8 / 1000 / (len(wave_S) / CODEC_RATE)
