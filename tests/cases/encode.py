"""Sound as the bytes of a file: by soundfile (libsndfile) and PyAV (FFmpeg)."""

import io
import shutil
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

RATE = 16_000
_PICTURES_PER_S = 5
Wave = NDArray[np.float32]


def by_soundfile(sound: Wave, container: str, subtype: str, rate: int = RATE, channels: int = 1, endian: str = "FILE") -> bytes:
    """Sound in a container of libsndfile."""
    sink = io.BytesIO()
    sf.write(sink, _spread(sound, rate, channels), rate, format=container, subtype=subtype, endian=endian)
    return sink.getvalue()


class _Pipe(io.RawIOBase):
    """A file that cannot be rewound, as a recorder's pipe."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self.content += bytes(block)
        return len(block)


def by_ffmpeg(
    sound: Wave,
    container: str,
    codec: str,
    rate: int = RATE,
    channels: int = 1,
    *,
    pipe: bool = False,
    options: dict[str, str] | None = None,
    moved: Callable[[float], float | None] | None = None,
    pictures_s: float = 0.0,
    **settings: Any,
) -> bytes:
    """Sound in a container of FFmpeg, `options` for the muxer, `settings` for the encoder.

    `moved` tells by how many seconds a packet that begins at a time is stated later, None leaves it out; `pictures_s` is the
    length of black pictures beside the sound.
    """
    layout = "mono" if channels == 1 else "stereo"
    texts = {key: value for key, value in settings.items() if isinstance(value, str)}
    written = _Pipe()
    path = Path(tempfile.mkdtemp()) / "animal"  # some muxers read again what they wrote
    with av.open(written if pipe else str(path), "w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout, options=texts)
        if "bit_rate" in settings:
            stream.codec_context.bit_rate = settings["bit_rate"]
        pictures = _add_pictures(file) if pictures_s else None
        resampler = av.AudioResampler(format=stream.codec_context.format, layout=layout, rate=rate)
        block = np.ascontiguousarray(_spread(sound, rate, channels).T)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            fifo.write(part)
        size = stream.codec_context.frame_size or 1024
        packets, samples = [], 0
        while part := fifo.read(size, partial=True):
            if moved:
                part.pts, part.time_base = samples, Fraction(1, rate)
            samples += part.samples
            packets += stream.encode(part)
        for packet in [*packets, *stream.encode(None)]:
            if moved is None or packet.pts is None:
                file.mux(packet)
            elif (later_s := moved(float(packet.pts * packet.time_base))) is not None:
                packet.pts = packet.dts = packet.pts + round(later_s / packet.time_base)
                file.mux(packet)
        if pictures:
            for number in range(round(pictures_s * _PICTURES_PER_S)):
                picture = av.VideoFrame(32, 32, "yuv420p")
                picture.pts = number
                file.mux(pictures.encode(picture))
            file.mux(pictures.encode(None))
    content = bytes(written.content) if pipe else path.read_bytes()
    shutil.rmtree(path.parent)
    return content


def _add_pictures(file: Any) -> Any:
    stream = file.add_stream("mpeg4", rate=_PICTURES_PER_S)
    stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
    return stream


def _spread(sound: Wave, rate: int, channels: int) -> Wave:
    resampled = soxr.resample(sound, RATE, rate) if rate != RATE else sound
    return np.stack([resampled * (1 - 0.3 * c) for c in range(channels)], axis=1).astype(np.float32)
