"""How much DNSMOS loses by scoring fewer windows of a segment, and how many decisions that changes.

    python -m benchmarks.dnsmos_windows FOLDER … [--pieces 139] [--threshold 2.2 3.0]

Sound files of the folders, joined per folder in order of their names, are cut into pieces of 10 to 20 s, as segments are; each is
scored at every hop once, and what fewer windows would give is computed from those.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from voxbeam.models.dnsmos import dnsmos, open_model, windows
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.config import ScoreConfig
from voxbeam.schemas.formats import ASR_RATE


def pieces(folders: list[Path], rng: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Stretches of 10 to 20 s."""
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if path.suffix in (".flac", ".wav", ".ogg"))
        sounds = (sf.read(path, dtype="float32") for path in files)
        whole = np.concatenate([soxr.resample(sound, rate, ASR_RATE) for sound, rate in sounds])
        at = 0
        while at < len(whole) - 9 * ASR_RATE:
            length = int(rng.uniform(10, 20) * ASR_RATE)
            yield whole[at : at + length]
            at += length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--pieces", type=int, default=100)
    parser.add_argument("--threshold", type=float, nargs="+", default=[2.2, 3.0])
    args = parser.parse_args()
    pin_threads()
    session, config = open_model("cpu"), ScoreConfig()
    scored = []
    for piece, _ in zip(pieces(args.folders, np.random.default_rng(0)), range(args.pieces), strict=False):
        scored.append(np.array([dnsmos(session, window).ovrl for window in windows(piece)]))
    exact = np.array([one.mean() for one in scored])
    every = [one[:: config.dnsmos_every] for one in scored]
    middle = np.array([one[len(one) // 2] for one in every])
    low, high = config.dnsmos_near or (0.0, 5.0)
    near = (middle >= low) & (middle <= high)
    ways = {
        "every hop": (exact, sum(map(len, scored))),
        f"every {config.dnsmos_every}rd": (np.array([one.mean() for one in every]), sum(map(len, every))),
        f"one, all if {low} to {high}": (
            np.array([one.mean() if asked else one[len(one) // 2] for one, asked in zip(every, near, strict=True)]),
            sum(len(one) if asked else 1 for one, asked in zip(every, near, strict=True)),
        ),
    }
    table = Table(title=f"{len(scored)} pieces", title_justify="left", box=None)
    for name in ("windows", "run", "mean error", "95 %", *(f"other side of {limit}" for limit in args.threshold)):
        table.add_column(name, justify="left" if name == "windows" else "right")
    for name, (values, count) in ways.items():
        error = np.abs(values - exact)
        changed = (str(int(((values < limit) != (exact < limit)).sum())) for limit in args.threshold)
        table.add_row(name, str(count), f"{error.mean():.3f}", f"{np.percentile(error, 95):.3f}", *changed)
    Console().print(table)


if __name__ == "__main__":
    main()
