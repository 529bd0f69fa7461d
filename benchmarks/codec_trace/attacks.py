"""What the trace of the codec survives, and what makes a recording look as if it had one: the attacks of benchmarks/watermark.

    python -m benchmarks.codec_trace.attacks FOLDER [--clips 20] [--seconds 5]

FOLDER has recorded speech in .flac, .ogg or .wav anywhere below it. Each clip and its copy by the codec are attacked and scored.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.safety.codec_trace import REFUSED, Wave, codec_score

from benchmarks.watermark import attacks, read_clips

OF_THE_MARK = ("none", "16 bits", "embedded codec", "subtraction of another payload's mark", "the same, at another position")
"""attacks that say nothing about the trace"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = list(read_clips(arguments.folder, arguments.clips, arguments.seconds))
    codec = load_codec(EMBEDDED_WEIGHTS)
    copies = [codec.decode([codec.encode([wave_S])[0]])[0] for wave_S in clips]
    print(f"| {len(clips)} clips | copies found (score ≥ 0) | ≥ {REFUSED:g} | recordings suspected (≥ 0) | ≥ {REFUSED:g} |")
    print("|---|---|---|---|---|")
    for name, attack in attacks(clips).items():
        if name not in OF_THE_MARK[1:]:
            cells = []
            for kind in (copies, clips):
                scores = [score_of(attack(wave_S)) for wave_S in kind]
                cells += [sum(score >= limit for score in scores) for limit in (0.0, REFUSED)]
            print(f"| {name} | " + " | ".join(map(str, cells)) + " |", flush=True)


def score_of(wave_S: Wave) -> float:
    """The score; that of a sound too short to judge finds nothing."""
    score = codec_score(wave_S)
    return float("-inf") if score is None else score


if __name__ == "__main__":
    main()
