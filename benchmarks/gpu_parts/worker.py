"""The process of one part: `python -m benchmarks.gpu_parts.worker PART OUT [--dry-run] [--corpus URI] [--minutes N]`.

`benchmarks/gpu.py` starts it, limits its time and records how it ended.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

import torch

from benchmarks.gpu_parts.measure import Bench
from benchmarks.gpu_parts.results import PARTS, ResultsFile


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs one part of benchmarks/gpu.py.")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--corpus", default="")
    parser.add_argument("--minutes", type=float, default=0.0)
    arguments = parser.parse_args()
    if arguments.dry_run:
        torch.set_num_threads(1)  # tiny sizes are no faster with more
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    part = importlib.import_module(f"benchmarks.gpu_parts.{arguments.part}")
    part.measure(
        Bench(
            part=arguments.part,
            out=arguments.out,
            file=ResultsFile(arguments.out),
            device=device,
            dry_run=arguments.dry_run,
            corpus=arguments.corpus,
            minutes=arguments.minutes,
        )
    )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # some libraries take long to shut down


if __name__ == "__main__":
    main()
