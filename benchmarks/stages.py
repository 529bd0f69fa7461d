"""Times a build, stage by stage and in all, and the sequential use of the same libraries.

    python benchmarks/stages.py [--input FOLDER] [--repeat N] [--full-codec]

Chapters are the input's utterances joined per folder; `--repeat` makes N of each, with the utterances in another order. The
baseline is `baseline.py`, with the same models. Both are commands, timed from start to exit, with imports and loading of models.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from rich.console import Console
from rich.table import Table

from voxbeam.models.codec import export_codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.pipeline.progress import accumulate
from voxbeam.pipeline.steps.unit_file import read_seconds
from voxbeam.transforms.chain import STAGES

SHARED = Path("../shared/data/librispeech/test-other")


def join_chapters(source: Path, target: Path, repeat: int) -> float:
    """Joins the utterances of every folder into `repeat` recordings; returns the seconds in all."""
    seconds = 0.0
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        parts = [sf.read(file, dtype="float32") for file in sorted(folder.glob("*.flac"))]
        (target / folder.name).mkdir(parents=True)
        for number in range(repeat):
            turned = parts[number:] + parts[:number]
            path = target / folder.name / f"chapter_{number}.flac"
            sf.write(path, np.concatenate([part for part, _ in turned]), parts[0][1])
            seconds += sum(len(part) / rate for part, rate in turned)
    return seconds


def timed(command: list[str]) -> tuple[str, float]:
    """What a Python command prints, and its wall seconds."""
    started = time.perf_counter()
    printed = subprocess.run([sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True).stdout
    return printed, time.perf_counter() - started


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--input", type=Path, default=SHARED, help="folder of folders of utterances (default: %(default)s)")
    arguments.add_argument("--repeat", type=int, default=1, help="chapters made of every folder (default: %(default)s)")
    arguments.add_argument("--full-codec", action="store_true", help="EnCodec at its full size, with random weights")
    options = arguments.parse_args()
    console, cores = Console(), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in"), Path(folder, "out")
        audio_s = join_chapters(options.input, source, options.repeat)
        config = Path(folder, "corpus.yaml")
        config.touch()
        if options.full_codec:
            torch.manual_seed(0)
            weights = Path(folder, "full.safetensors")
            export_codec(build_codec(CodecConfig()), CodecConfig(), weights, {})
            config.write_text(f"tokenize: {{codec: {weights}}}")
        build = ["beam_runner.py", "build", "--input", str(source), "--output", str(output), "--config", str(config)]
        _, wall_s = timed([*build, f"--direct_num_workers={cores}"])
        ours: dict[str, float] = {}
        for unit in (output / "units").rglob("*.arrow"):
            accumulate(ours, read_seconds(unit.read_bytes()))
        printed, plain_wall_s = timed(["benchmarks/baseline.py", str(config), str(source)])
        plain: dict[str, float] = json.loads(printed.splitlines()[-1])
    table = Table(title=f"{audio_s:.0f} s of speech, {cores} cores", title_justify="left", box=None)
    for name in ("stage", "voxbeam, worker s", "× real time per worker", "plain, s", "× real time"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in STAGES:
        theirs = plain.get(stage)
        table.add_row(
            stage,
            f"{ours[stage]:.1f}",
            f"{audio_s / ours[stage]:,.0f}" if ours[stage] else "",
            f"{theirs:.1f}" if theirs else "",
            f"{audio_s / theirs:,.0f}" if theirs else "",
        )
    busy, plain_s = sum(ours.values()), sum(plain.values())
    table.add_row("all stages", f"{busy:.1f}", f"{audio_s / busy:.2f}", f"{plain_s:.1f}", f"{audio_s / plain_s:.2f}")
    table.add_row(
        "whole, wall", f"{wall_s:.1f}", f"{audio_s / wall_s:.2f}", f"{plain_wall_s:.1f}", f"{audio_s / plain_wall_s:.2f}"
    )
    console.print(table)
    console.print(f"wall × {cores} workers / sum of the stages' own times: {wall_s * cores / busy:.3f} (goal ≤ 1.10)")
    console.print(f"wall / plain sequential: {wall_s / plain_wall_s:.3f} (goal ≤ 0.40)")


if __name__ == "__main__":
    main()
