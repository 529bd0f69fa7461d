"""Whether a sound passed through the embedded codec, by the sound alone: what is left to tell when a watermark was taken off.

It hears windows of 4 s; the verdict on a sound is the mean of theirs. It knows the one codec, hence speech of voxbeam's models
that use it, and no other program's speech (docs/safety.md has both figures).

Shapes: S samples.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import soxr
from numpy.typing import NDArray

from voxbeam.models.codec_trace import CodecTrace, features
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

WINDOW_S = 4.0
MIN_SECONDS = 1.5
"""shorter speech is not judged"""
MAX_WINDOWS = 40
"""of a long sound, evenly from all of it"""
REFUSED = 2.0
"""score from which on a recording enrolls nobody"""
SPEEDS = tuple(round(1 + step * 0.006, 3) for step in range(-10, 11) if step)
"""speeds, as of a tape, that are tried besides that of the sound: the trace is read up to 0.4 % beside the right one"""
SPEED_WINDOWS = 2
"""windows of a sound that are tried at these speeds"""
AT_SPEEDS = 2.0
"""score from which on a sound at another speed is taken to have passed through the codec: it is the greatest of many"""
FRAME_S, LOUD_DB, MIN_SPEECH = 0.02, 26.0, 0.5
"""length of a level, how far below the loud ones one still is speech, and the share of such levels that a window needs"""
Wave = NDArray[np.float32]


@cache
def _classifier() -> CodecTrace:
    return CodecTrace.load()


def codec_score(wave_S: Wave) -> float | None:
    """Log-likelihood ratio of a sound [S] at 24 kHz: above 0, it likely passed through the codec. None for too little speech."""
    return trace_of(np.asarray(soxr.resample(wave_S, CODEC_RATE, ASR_RATE), np.float32), MAX_WINDOWS)


def trace_of(heard_S: Wave, most: int) -> float | None:
    """The same of a sound [S] at 16 kHz, by at most `most` windows of it."""
    windows = speech_windows(heard_S, ASR_RATE, most)
    if not windows:
        return None
    return float(np.mean([_classifier().scores(features(window_S[None]))[0] for window_S in windows]))


def trace_at_speed(wave_S: Wave, score: float) -> tuple[float, float] | None:
    """Score and speed of a sound whose trace is plain at another speed only; `score` is that of the sound as it is."""
    found = search_speeds(wave_S) if score < REFUSED else None
    return found if found is not None and found[0] >= AT_SPEEDS else None


def search_speeds(wave_S: Wave) -> tuple[float, float] | None:
    """The greatest score of a sound [S] at 24 kHz at any of SPEEDS, and that speed; None for too little speech.

    It undoes a sound that was played at that speed: at 1.02, one that was played 2 % faster.
    """
    windows, found = speech_windows(wave_S, CODEC_RATE, SPEED_WINDOWS), []
    for speed in SPEEDS if windows else ():
        heard = (np.asarray(soxr.resample(window_S, CODEC_RATE, ASR_RATE * speed), np.float32) for window_S in windows)
        found.append((float(np.mean([_classifier().scores(features(window_S[None]))[0] for window_S in heard])), speed))
    return max(found, default=None)


def require_no_codec(wave_S: Wave) -> None:
    """Raises ConsentError for a recording that passed through the codec, also one that was played faster or slower since."""
    score, speed = codec_score(wave_S), 1.0
    if score is not None and (found := trace_at_speed(wave_S, score)) is not None:
        score, speed = found
    if score is not None and score >= REFUSED:
        played = f", played at {speed:g} times its speed" if speed != 1 else ""
        raise ConsentError(
            f"the recording passed through voxbeam's codec, as made speech does{played} (score {score:.1f}; from {REFUSED:g} on "
            "nobody is enrolled)",
            remedy="record a person, with a microphone; an operator who was there can vouch for a recording with "
            "`voxbeam consent grant --scope prompt --sound`",
        )


def speech_windows(wave_S: Wave, rate: int, most: int) -> list[Wave]:
    """Windows of 4 s with speech in half of their time, without the silence at the ends: at most `most`, evenly from all.

    They overlap by half. Speech shorter than a window is a window by itself; less than `MIN_SECONDS` gives none.
    """
    length, frame = round(WINDOW_S * rate), round(FRAME_S * rate)
    if len(wave_S) < MIN_SECONDS * rate:
        return []
    levels = wave_S[: len(wave_S) // frame * frame].reshape(-1, frame).std(axis=1)  # an offset is no sound
    loud = levels > max(1e-5, float(np.percentile(levels, 95)) * 10 ** (-LOUD_DB / 20))
    if not loud.any():
        return []
    found = np.flatnonzero(loud)
    first, last = int(found[0]) * frame, int(found[-1] + 1) * frame
    if last - first < length:
        return [wave_S[first:last]] if last - first >= MIN_SECONDS * rate else []
    share = np.convolve(loud, np.full(length // frame, frame / length), "valid")
    starts = [start for start in range(first, last - length + 1, length // 2) if share[start // frame] >= MIN_SPEECH]
    chosen = sorted({starts[int(place)] for place in np.linspace(0, len(starts) - 1, most)}) if starts else []
    return [wave_S[start : start + length] for start in chosen]
