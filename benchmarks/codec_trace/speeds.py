"""Whether the trace of the codec is found in sounds that were played faster or slower, and how often a search over speeds errs.

    python -m benchmarks.codec_trace.speeds FOLDER [FOLDER …] [--clips 20] [--seconds 5] [--no-copies]

Each FOLDER has recorded speech in .flac, .ogg or .wav anywhere below it. Recordings are searched at all speeds; copies by the
codec are played at a speed drawn from ±6 %, and then searched.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr
import torch

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.safety.codec_trace import SPEEDS, Wave, codec_score, search_speeds
from voxbeam.schemas.formats import CODEC_RATE

from benchmarks.watermark import read_clips

LIMITS = (0.0, 1.0, 2.0, 3.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--no-copies", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec, rng = load_codec(EMBEDDED_WEIGHTS), np.random.default_rng(0)
    print("| sounds | judged | " + " | ".join(f"≥ {limit:g}" for limit in LIMITS) + " | highest, lowest | speed within 0.6 % |")
    print("|---" * (4 + len(LIMITS)) + "|")
    for folder in arguments.folders:
        clips = list(read_clips(folder, arguments.clips, arguments.seconds))
        report(f"{folder.name}, recorded: at its own speed", [(codec_score(wave_S), 1.0) for wave_S in clips], None)
        report(f"{folder.name}, recorded: any of {len(SPEEDS)} speeds", [search_speeds(wave_S) for wave_S in clips], None)
        if arguments.no_copies:
            continue
        speeds = (1 + rng.choice((-1, 1), len(clips)) * rng.uniform(0.008, 0.06, len(clips))).tolist()
        copies = [codec.decode([codec.encode([wave_S])[0]])[0] for wave_S in clips]
        played = [play(wave_S, speed) for wave_S, speed in zip(copies, speeds, strict=True)]
        report(f"{folder.name}, copies at another speed: unsearched", [(codec_score(wave_S), 1.0) for wave_S in played], None)
        report(f"{folder.name}, copies at another speed: searched", [search_speeds(wave_S) for wave_S in played], speeds)


def play(wave_S: Wave, speed: float) -> Wave:
    """A sound as a tape that runs at a speed."""
    return np.asarray(soxr.resample(wave_S, CODEC_RATE * speed, CODEC_RATE), np.float32)


Found = Sequence[tuple[float | None, float] | None]


def report(name: str, found: Found, speeds: Sequence[float] | None) -> None:
    """A row of the table."""
    scores = [one[0] for one in found if one is not None and one[0] is not None]
    counts = " | ".join(str(sum(score >= limit for score in scores)) for limit in LIMITS)
    right = ""
    if speeds is not None:
        right = str(sum(one is not None and abs(one[1] - speed) <= 0.006 for one, speed in zip(found, speeds, strict=True)))
    print(f"| {name} | {len(scores)} | {counts} | {max(scores):.1f}, {min(scores):.1f} | {right} |", flush=True)


if __name__ == "__main__":
    main()
