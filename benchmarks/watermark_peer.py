"""What the watermark of Perth (package `resemble-perth`) survives, by the clips and attacks of benchmarks/watermark.

    python -m benchmarks.watermark_peer FOLDER [--clips 50] [--seconds 5] [--only NAME,…]

Needs `resemble-perth`, which is no dependency of voxbeam: install it into an environment of its own, and put this clone and its
libraries on the path. Perth says whether a sound is marked, and carries no payload: "found" is a confidence of 0.5 or more, which
is how its own program rounds.

Shapes: S samples at 24 kHz.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import perth
import torch

from voxbeam.models.dnsmos import dnsmos, open_model
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

from benchmarks.watermark import attacks, read_clips, resample

OF_OURS = ("subtraction of another payload's mark", "the same, at another position")
"""attacks by our own mark"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    clips = list(read_clips(arguments.folder, arguments.clips, arguments.seconds))
    perth_net = perth.PerthImplicitWatermarker()
    began = time.process_time()
    marked = [np.asarray(perth_net.apply_watermark(wave_S, CODEC_RATE), np.float32)[: len(wave_S)] for wave_S in clips]
    spent, seconds = time.process_time() - began, sum(map(len, clips)) / CODEC_RATE
    print(f"{len(clips)} clips, {seconds:.0f} s, marked in {spent:.1f} s of processor time")
    below = [10 * np.log10((a**2).mean() / ((b - a) ** 2).mean()) for a, b in zip(clips, marked, strict=True)]
    session = open_model("cpu")
    with_mark, without = (
        np.array([dnsmos(session, resample(w, CODEC_RATE, ASR_RATE)).ovrl for w in waves]) for waves in (marked, clips)
    )
    change = with_mark - without
    print(f"difference to the voice: {np.mean(below):.1f} dB below it in the mean, {min(below):.1f} at least")
    print(f"DNSMOS OVRL {without.mean():.3f} and {with_mark.mean():.3f}: change {change.mean():+.3f} ± {change.std():.3f}")
    print(f"| attack | found of {len(clips)} |", flush=True)
    print("|---|---|")
    print(f"| no mark put in | {sum(confidence(perth_net, wave_S) >= 0.5 for wave_S in clips)} |", flush=True)
    for name, attack in attacks(clips).items():
        if name not in OF_OURS and not (arguments.only and name not in arguments.only.split(",")):
            found = sum(confidence(perth_net, attack(wave_S)) >= 0.5 for wave_S in marked)
            print(f"| {name} | {found} |", flush=True)


def confidence(perth_net: perth.PerthImplicitWatermarker, wave_S: np.ndarray) -> float:
    """How sure Perth is that a sound is marked, 0 to 1."""
    return float(np.mean(perth_net.get_watermark(wave_S, CODEC_RATE, round=False)))


if __name__ == "__main__":
    main()
