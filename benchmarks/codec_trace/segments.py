"""The score `codec_trace` of a build: false alarms on recordings, copies found, and its cost, by segments of one length.

    python -m benchmarks.codec_trace.segments FOLDER [FOLDER …] [--segments 60] [--seconds 8]

Each FOLDER has recorded speech in .flac, .ogg or .wav anywhere below it. Segments are taken at even distances from all of it.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
import torch

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.safety.codec_trace import Wave, trace_of
from voxbeam.schemas.filter_config import FilterConfig
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.transforms.score import TRACE_WINDOWS

LIMIT = FilterConfig().max_codec_trace


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--segments", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    codec = load_codec(EMBEDDED_WEIGHTS)
    print(f"| segments of {arguments.seconds:g} s | judged | ≥ 0 | above {LIMIT:g} | highest, lowest | × real time |")
    print("|---|---|---|---|---|---|")
    for folder in arguments.folders:
        segments = read_segments(folder, arguments.segments, arguments.seconds)
        report(f"{folder.name}, recorded", segments)
        report(f"{folder.name}, copies", [codec.decode([codec.encode([wave_S])[0]])[0] for wave_S in segments])


def read_segments(folder: Path, count: int, seconds: float) -> list[Wave]:
    """Stretches of one length, at even distances, from the files of a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".flac", ".ogg", ".wav"))
    places = [(path, start) for path in paths for start in range(int(sf.info(path).duration // seconds))]
    found = []
    for path, start in places[:: max(1, len(places) // count)][:count]:
        rate = sf.info(path).samplerate
        wave, _ = sf.read(
            path, frames=round(seconds * rate), start=round(start * seconds * rate), dtype="float32", always_2d=True
        )
        found.append(np.asarray(soxr.resample(wave.mean(axis=1), rate, CODEC_RATE), np.float32))
    return found


def report(name: str, segments: list[Wave]) -> None:
    """A row of the table."""
    heard = [np.asarray(soxr.resample(wave_S, CODEC_RATE, ASR_RATE), np.float32) for wave_S in segments]
    began = time.process_time()
    scores = [score for wave_S in heard if (score := trace_of(wave_S, TRACE_WINDOWS)) is not None]
    speed = sum(map(len, heard)) / ASR_RATE / (time.process_time() - began)
    counts = " | ".join(
        str(sum(score >= 0 if limit == 0 else score > limit for score in scores)) for limit in (0.0, LIMIT or 0.0)
    )
    print(f"| {name} | {len(scores)} | {counts} | {max(scores):.1f}, {min(scores):.1f} | {speed:.0f} |", flush=True)


if __name__ == "__main__":
    main()
