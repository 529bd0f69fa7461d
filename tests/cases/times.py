"""Files whose container states other times than zero, one packet after another: beginnings, gaps, lost packets, edit lists."""

from collections.abc import Callable, Iterator

import numpy as np

from tests.cases import surgery
from tests.cases.encode import RATE, Wave, by_ffmpeg

GAP_S = 0.6
_PRIMING_S = 1024 / RATE
"""what FFmpeg's AAC coder puts before the sound; the edit list that it writes leaves it out"""
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
_CONTAINERS: dict[str, tuple[str, str, int, float, dict[str, str]]] = {
    "opus.webm": ("webm", "libopus", 48_000, 0.03, {}),
    "live.webm": ("webm", "libopus", 48_000, 0.03, {"live": "1"}),
    "flac.mka": ("matroska", "flac", RATE, 0.0, {}),
    "aac.mka": ("matroska", "aac", RATE, 0.2, {}),
    "aac.m4a": ("ipod", "aac", RATE, 0.2, {}),
    "opus.mp4": ("mp4", "libopus", 48_000, 0.03, {}),
    "fragments.mp4": ("mp4", "aac", RATE, 0.2, _FRAGMENTS),
    "aac.ts": ("mpegts", "aac", RATE, 0.25, {}),
    "mp2.mpg": ("mpeg", "mp2", RATE, 0.2, {}),
    "aac.flv": ("flv", "aac", 44_100, 0.1, {}),
    "wma.wma": ("asf", "wmav2", RATE, 0.2, {}),
    "opus.ogg": ("ogg", "libopus", 48_000, 0.03, {}),
}
ROUGH = ("gap_opus.ogg", "lost_opus.ogg", "gap_mp2.mpg", "lost_flac.mka", "lost_aac.ts")
"""where a gap begins is known to the length of a page of Ogg, or lost packets are longer than the sound that is left out here"""
WITH_GAPS = ("gap_", "lost_", "jitter_")
"""beginnings of the names of files in which the program `ffmpeg` joins what a gap parts, unless it is asked to fill it"""
Times = Iterator[tuple[str, bytes, Wave | None, float]]


def files(a: Wave) -> Times:
    """(name, content, its sound, padding in s) of each, from four seconds of speech; without one: it is refused."""
    middle = len(a) // 2
    silence = np.zeros(round(GAP_S * RATE), np.float32)
    split_s = middle / RATE

    def encode(name: str, moved: Callable[[float], float | None]) -> bytes:
        container, codec, rate, _, options = _CONTAINERS[name]
        return by_ffmpeg(a, container, codec, rate, options=options, moved=moved, bit_rate=64_000)

    for name, (_, _, _, padding_s, _) in _CONTAINERS.items():
        yield f"late_{name}", encode(name, lambda start_s: 30.0), a, padding_s
        gap = np.concatenate([a[:middle], silence, a[middle:]])
        yield f"gap_{name}", encode(name, lambda start_s: 0.0 if start_s < split_s else GAP_S), gap, padding_s
    lost = a.copy()
    lost[middle - RATE // 4 : middle + RATE // 4] = 0
    for name in ("opus.webm", "live.webm", "flac.mka", "opus.mp4", "aac.ts", "opus.ogg"):
        content = encode(name, lambda start_s: None if abs(start_s - split_s) < 0.25 else 0.0)
        yield f"lost_{name}", content, lost, _CONTAINERS[name][3]
    for name in ("live.webm", "aac.ts"):
        yield f"jump_{name}", encode(name, lambda start_s: 0.0 if start_s < split_s else 7200.0), a, _CONTAINERS[name][3]
    # Packets that come late twice, followed by others that catch up: one gap at most.
    content = encode("opus.webm", lambda start_s: 0.15 - start_s % 1 * 0.9 if start_s >= 1 and start_s % 1 < 0.166 else 0.0)
    yield "jitter_opus.webm", content, a, 0.15
    for container, codec, suffix in (("mp4", "aac", "mp4"), ("matroska", "flac", "mkv"), ("mpegts", "aac", "ts")):
        yield f"pictures.{suffix}", by_ffmpeg(a, container, codec, pictures_s=9.0), a, 0.25


def edited(a: Wave) -> Times:
    """Movies whose edit list leaves out or delays sound that they hold; one that pauses it, without a sound here."""
    content = by_ffmpeg(a, "mp4", "aac")
    length_s, first_s = len(a) / RATE, _PRIMING_S
    edits: dict[str, tuple[list[tuple[float, float | None]], list[Wave]]] = {
        "begins_late": ([(length_s - 1, first_s + 1)], [a[RATE:]]),
        "ends_early": ([(length_s - 1, first_s)], [a[:-RATE]]),
        "left_out": ([(1.5, first_s), (length_s - 2.5, first_s + 2.5)], [a[: RATE * 3 // 2], a[RATE * 5 // 2 :]]),
        "delayed": ([(30.0, None), (length_s, first_s)], [a]),
    }
    for name, (entries, parts) in edits.items():
        yield f"edit_{name}.mp4", surgery.edit_list(content, entries, RATE), np.concatenate(parts), 0.07
    pause = [(2.0, first_s), (GAP_S, None), (length_s - 2.0, first_s + 2.0)]
    yield "edit_paused.mp4", surgery.edit_list(content, pause, RATE), None, 0.0
