"""Times the build, stage by stage and whole, beside the plain sequential use of the same libraries, in one run.

    python benchmarks/stages.py [--input FOLDER] [--repeat N] [--full-codec]

Chapters are the input's utterances joined per folder; `--repeat` makes N of each, with the utterances in another order. "Plain"
is what a careful script would do: pyannote's pipeline at its default step, faster-whisper on every segment, speechmos,
phonemizer, EnCodec; one after the other, models loaded before the clock starts, libraries left to use all cores. Both arms use
the same models. Our wall time includes starting the workers and loading their models.
"""

import argparse
import logging
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
from rich.console import Console
from rich.table import Table

from assets.encodec_model import CodecConfig, build_codec, export_codec
from assets.threads import pin_threads
from benchmarks.plain import PlainPipeline
from pipeline.build import build
from pipeline.display import STAGES
from pipeline.progress import add_up
from pipeline.unit_file import read_seconds
from schemas.config import CorpusConfig

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


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--input", type=Path, default=SHARED, help="folder of folders of utterances (default: %(default)s)")
    arguments.add_argument("--repeat", type=int, default=1, help="chapters made of every folder (default: %(default)s)")
    arguments.add_argument("--full-codec", action="store_true", help="EnCodec at its full size, with random weights")
    options = arguments.parse_args()
    logging.disable(logging.WARNING)
    console, cores = Console(), os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in"), Path(folder, "out")
        audio_s = join_chapters(options.input, source, options.repeat)
        config = CorpusConfig()
        if options.full_codec:
            torch.manual_seed(0)
            weights = Path(folder, "full.safetensors")
            export_codec(build_codec(CodecConfig()), CodecConfig(), weights, {})
            config = CorpusConfig.model_validate({"tokenize": {"codec": str(weights)}})
        started = time.perf_counter()
        build(str(source), str(output), config, [f"--direct_num_workers={cores}"], Console(quiet=True))
        wall_s = time.perf_counter() - started
        ours: dict[str, float] = {}
        for unit in (output / "units").rglob("*.arrow"):
            add_up(ours, read_seconds(unit.read_bytes()))
        torch.set_num_threads(cores)
        os.environ.pop("OMP_NUM_THREADS", None)
        plain = PlainPipeline(config).run(sorted(source.rglob("*.flac")))
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
    table.add_row("whole, wall", f"{wall_s:.1f}", f"{audio_s / wall_s:.2f}", f"{plain_s:.1f}", f"{audio_s / plain_s:.2f}")
    console.print(table)
    console.print(f"wall × {cores} workers / sum of the stages' own times: {wall_s * cores / busy:.3f} (goal ≤ 1.10)")
    console.print(f"wall / plain sequential: {wall_s / plain_s:.3f} (goal ≤ 0.40)")


if __name__ == "__main__":
    pin_threads()
    main()
