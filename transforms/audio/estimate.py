"""Estimate: format and length of a file without decoding it, for a plan. Runs in the sandbox."""

from pathlib import Path
from typing import Any

import av

from voxbeam.transforms.audio.containers import ogg_links
from voxbeam.transforms.audio.ffmpeg import opened, stated_seconds
from voxbeam.transforms.audio.file_clock import FileClock
from voxbeam.transforms.audio.sparse_file import AudioFile

_BYTES, _BUCKET_BYTES = 8 << 20, 1 << 20
"""what is read of a file, on a disk and in a bucket"""


def estimate(file: AudioFile) -> tuple[str, int, int, float]:
    """(format, sample rate, channels, seconds) without decoding: seconds by a header that is reliable, else by the packets.

    Of a file that is larger than is read, the packets at its start are scaled by its bytes.
    """
    seconds = 0.0
    links = ogg_links(file) if reads_all_packets(file) else []
    for link in links if len(links) > 1 else [None]:
        with opened(file, link) as (container, stream):
            found = container.format.name.split(",")[0], stream.rate or 0, stream.codec_context.channels or 0
            if (stated_s := stated_seconds(container, stream)) is not None and stated_s > 0:
                return *found, stated_s
            seconds += _packet_seconds(container, stream, _most_bytes(file))
    return *found, seconds


def reads_all_packets(file: AudioFile) -> bool:
    """Whether `estimate` reads a whole file."""
    return _size(file) <= _most_bytes(file)


def _most_bytes(file: AudioFile) -> int:
    return _BYTES if isinstance(file, Path) or file.complete else _BUCKET_BYTES


def _size(file: AudioFile) -> int:
    return file.stat().st_size if isinstance(file, Path) else file.size


def _packet_seconds(container: Any, stream: Any, most_bytes: int) -> float:
    seconds, size, end = 0.0, 0, 0
    clock = FileClock(container.format.name)
    try:
        for packet in container.demux(stream):
            if packet.size and packet.duration:
                length = float(packet.duration * packet.time_base)
                seconds += length + clock.gap(None if packet.pts is None else float(packet.pts * packet.time_base), length)
                size += packet.size
                end = max(end, (packet.pos or 0) + packet.size)
            if size > most_bytes:
                return seconds * max(1.0, container.size / end)
    except (av.EOFError, StopIteration):
        pass
    return seconds
