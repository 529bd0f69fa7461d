"""Time and memory of everything but audio and models, on a corpus of 12 million segments in 220,000 recordings.

    python benchmarks/scale.py [--sixteenths 1 4 16] [--folder FOLDER] [--json FILE]

A build as `voxbeam build` runs it, with two parts replaced: the probe, which makes up a recording's length, and the stages, which
make up its segments. So listing, planning, resuming, unit files, linking, buckets, shards, manifests and commit are the product's
own, and so are the release that is read and the loader that is opened then. Every step runs in processes of its own; memory is
their resident size, sampled five times a second.

A recording lasts 16.4 minutes on average and has a segment every 18 seconds, a sixth of them rejected. A segment is two codec
frames long and its text four words, so that a sample takes 2.5 kB in its shard instead of 25; `target_shard_mb` is a tenth of the
default for that reason, and as many samples go to a shard as would. What no step reads again is given back to the disk: shards
become files of the same size without content as soon as they are put, and before the loader reads, the samples that it will
read are put back. It needs 15 GB.
"""

import argparse
import hashlib
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO
from unittest.mock import patch

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

RECORDINGS, MINUTES = 220_000, 16.4
"""LibriLight: 60,000 hours"""
SEGMENT_MS, MADE_MS = 18_000, 27
SPEAKERS = 7_439
CONFIG = {"listing": {"licence": "CC0-1.0", "basis": "public-domain"}, "pack": {"target_shard_mb": 25, "max_shard_mb": 100}}
BEAM_STEPS = {
    "ReadListing": "list: read by the workers",
    "ProbeRecordings": "plan: probe (made up)",
    "PlanUnits": "plan: units",
    "ResumeUnit": "work: unit files",
    "LinkRecordings": "pack: link, share out",
    "WriteBucket": "pack: shards, samples",
    "WriteReports": "pack: recordings, rejected",
    "CommitRelease": "commit",
}


def tell(step: str) -> None:
    """Tells the process that watches which step begins."""
    print(json.dumps({"begins": step, "at": time.perf_counter()}), flush=True)


def write_listing(path: Path, recordings: int) -> None:
    """A listing such as a user would bring."""
    numbers = np.arange(recordings)
    speakers = numbers * 2654435761 % max(1, SPEAKERS * recordings // RECORDINGS)
    columns = {
        "uri": [f"/audio/{speaker}/book_{number // 20}/{number}.flac" for number, speaker in zip(numbers, speakers, strict=True)],
        "recording": [f"{speaker}-book_{number // 20}-{number}" for number, speaker in zip(numbers, speakers, strict=True)],
        "speaker": [str(speaker) for speaker in speakers],
    }
    pq.write_table(pa.table(columns), path)


def list_input(folder: Path) -> None:
    from pipeline.build import _put_listing
    from assets.storage import Store
    from schemas.config import ListingConfig
    from transforms.recordings import list_recordings

    tell("list: find, name, put")
    _put_listing(Store(str(folder / "listed")), list(list_recordings(str(folder / "listing.parquet"), ListingConfig())))


def made_up_graph() -> Any:
    """The two replacements, for as long as the context lasts. The graph is made in this process, so workers get them too."""
    from pipeline.work import Probed, ProbeRecordings
    from schemas.audio import Audio
    from schemas.recording import Recording, Source
    from schemas.segment import Scores, Segment, Transcript, Voice
    from transforms.stage import UnitStage, UnitWork

    class MakeUpLength(ProbeRecordings):
        def process(self, keyed: tuple[str, Iterable[Recording]]) -> Iterator[tuple[str, Probed]]:
            for recording in keyed[1]:
                sha256 = hashlib.sha256(recording.recording.encode()).hexdigest()
                minutes = 4 + random.Random(sha256).expovariate(1 / (MINUTES - 4))
                source = Source(
                    sha256=sha256, bytes=1, format="FLAC", sample_rate=16_000, channels=1, duration_ms=round(minutes * 60_000)
                )
                yield sha256, Probed(recording=recording, source=source)

    class MakeUpSpeech(UnitStage):
        name = "tokenize"

        def run(self, work: UnitWork) -> UnitWork:
            rng = np.random.default_rng(int(work.unit.name[:8], 16))
            embedding = rng.normal(size=256)
            voice = Voice(voice="v1", embedding=tuple((embedding / np.linalg.norm(embedding)).tolist()), speech_ms=1)
            codes = np.arange(16, dtype=np.int16).reshape(8, 2)
            drawn = np.round(rng.random((100, 4)), 3).tolist()
            segments = []
            for number, start in enumerate(range(work.unit.start_ms, work.unit.end_ms - MADE_MS, SEGMENT_MS)):
                a, b, c, d = drawn[number % 100]
                segment = Segment(
                    start_ms=start,
                    end_ms=start + MADE_MS,
                    voice="v1",
                    speech_ratio=a,
                    transcript=Transcript(
                        text="and so it was", language="en", language_probability=a, avg_logprob=-b, no_speech_prob=c,
                        compression_ratio=1 + d, temperature=0.0, redecoded=False,
                    ),
                    scores=Scores(
                        speech_ratio=a, dnsmos_ovrl=3 + a, dnsmos_sig=3 + b, dnsmos_bak=3 + c, snr_db=30 * d,
                        bandwidth_hz=7000 + 1000 * a, clipping=0.0, loudness_lufs=-20 - b,
                    ),
                )  # fmt: skip
                segments.append(
                    replace(segment, rejected_by="judge", reasons=("low_snr",))
                    if number % 6 == 5
                    else replace(segment, phones="æ n d | s oʊ | ɪ t | w ʌ z", phone_ids=tuple(range(2, 14)), codes=codes)
                )
            nothing = np.zeros(0, np.float32)
            audio = Audio(start_ms=work.unit.start_ms, end_ms=work.unit.end_ms, pcm16k=nothing, pcm24k=nothing)
            return replace(work, audio=audio, peak=0.5, voices=(voice,), segments=tuple(segments))

    return patch.multiple("pipeline.graph", ProbeRecordings=MakeUpLength), patch(
        "pipeline.work.stages_of", lambda config: [MakeUpSpeech()]
    )


class TellSteps(logging.Handler):
    """Tells which of the graph's fused stages the in-process runner begins."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Running bundle") and isinstance(record.args, tuple):
            stage = str(record.args[0])
            tell(next((name for key, name in BEAM_STEPS.items() if key in stage), "other steps of the graph"))


def run_build(folder: Path) -> None:
    from pipeline import fork_server
    from pipeline.build import build
    from schemas.config import CorpusConfig

    fork_server.start()
    log = logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner.run_bundle")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(TellSteps())
    probe, stages = made_up_graph()
    with Path(os.devnull).open("w") as nowhere, probe, stages:
        tell("list: find, name, put")
        outcome = build(
            str(folder / "listing.parquet"),
            str(folder / "corpus"),
            CorpusConfig.model_validate(CONFIG),
            ["--direct_num_workers=2"],
            Console(file=nowhere),
        )
    print(json.dumps({"counts": outcome.release.counts, "committed": outcome.committed}), flush=True)


def run_again(folder: Path) -> None:
    run_build(folder)


def read_release(folder: Path) -> None:
    from assets.releases import latest_release
    from assets.storage import Store

    tell("read: latest release")
    latest_release(Store(str(folder / "corpus")))


def run_loader(folder: Path) -> None:
    os.environ["VOXBEAM_CACHE"] = str(folder / "cache")
    from trainer.epoch import Place
    from trainer.stream import Stream

    uri = str(folder / "corpus")
    tell("loader: make the index")
    Stream(uri)
    tell("loader: open the index")
    stream = Stream(uri)
    places = [Place(0, 0, 0), Place(0, int(stream.epochs.windows * 0.9), 3)]
    tell("(samples put back)")
    for place in places:
        put_back(stream, np.concatenate([samples for _, samples in islice(stream.epochs.walk(place), 40)]))
    for place, name in zip(places, ("first batch", "first batch at 90 %"), strict=True):
        tell(f"loader: {name}")
        next(stream.steps(int(place)))
    print(json.dumps({"loaded": len(stream.index)}), flush=True)


def put_back(stream: Any, samples: Any) -> None:
    """Writes the codes of samples where their shards have lost them."""
    from io import BytesIO

    sink = BytesIO()
    np.save(sink, np.arange(16, dtype=np.int16).reshape(8, 2))
    arrays = stream.index.arrays
    for shard in np.unique(arrays["shard"][samples]):
        with Path(stream.index.store.root, stream.index.shards[shard]).open("r+b") as file:
            for sample in samples[arrays["shard"][samples] == shard]:
                file.seek(int(arrays["offset"][sample]))
                file.write(sink.getvalue())


CHILDREN: dict[str, Callable[[Path], None]] = {
    "list": list_input,
    "build": run_build,
    "again": run_again,
    "read": read_release,
    "loader": run_loader,
}


@dataclass
class Step:
    """What a step took."""

    seconds: float = 0.0
    driver_gb: float = 0.0
    worker_gb: float = 0.0
    all_gb: float = 0.0


@dataclass
class Arm:
    """A corpus of one size."""

    recordings: int
    counts: dict[str, int] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)


def empty_shards(corpus: Path, emptied: set[Path]) -> None:
    """Gives the blocks of finished shards back to the disk; they keep their size."""
    for shard in corpus.glob("shards/*/*.tar"):
        if shard not in emptied:
            size = shard.stat().st_size
            os.truncate(shard, 0)
            os.truncate(shard, size)
            emptied.add(shard)


def watch(child: str, folder: Path, arm: Arm, show: Callable[[str], None], prefix: str = "") -> None:
    """Runs a child process to its end and adds what its steps took."""
    command = [sys.executable, __file__, "--child", child, "--folder", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    now: list[tuple[str, float]] = []

    def listen(lines: TextIO) -> None:
        for line in lines:
            told = json.loads(line)
            arm.counts |= told.get("counts", {})
            if "begins" in told:
                end_step(told["at"])
                now.append((prefix + told["begins"], told["at"]))

    def end_step(at: float) -> None:
        if now:
            step, began = now.pop()
            arm.steps.setdefault(step, Step()).seconds += at - began

    listener = threading.Thread(target=listen, args=(process.stdout,))
    listener.start()
    emptied: set[Path] = set()
    while process.poll() is None:
        driver, workers = resident_gb(process.pid)
        if now:
            step = arm.steps.setdefault(now[-1][0], Step())
            step.driver_gb = max(step.driver_gb, driver)
            step.worker_gb = max(step.worker_gb, max(workers, default=0.0))
            step.all_gb = max(step.all_gb, driver + sum(workers))
            show(f"{now[-1][0]}, {driver + sum(workers):.1f} GB")
        if child == "build":
            empty_shards(folder / "corpus", emptied)
        time.sleep(0.2)
    listener.join()
    end_step(time.perf_counter())
    if process.returncode:
        raise SystemExit(f"{child} ended with status {process.returncode}")


def resident_gb(pid: int) -> tuple[float, list[float]]:
    """Of a process, and of each of its descendants."""
    try:
        root = psutil.Process(pid)
        return root.memory_info().rss / 1e9, [child.memory_info().rss / 1e9 for child in root.children(recursive=True)]
    except psutil.Error:  # one ended between two looks
        return 0.0, []


def measure(sixteenths: float, root: Path, show: Callable[[str], None]) -> Arm:
    arm = Arm(recordings=round(RECORDINGS * sixteenths / 16))
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        write_listing(folder / "listing.parquet", arm.recordings)
        watch("build", folder, arm, show)
        watch("again", folder, arm, show, "again, ")
        watch("read", folder, arm, show)
        watch("loader", folder, arm, show)
    return arm


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sixteenths", type=float, nargs="+", default=[1, 4, 16], help="of 220,000 recordings (default: 1 4 16)")
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 15 GB (default: %(default)s)")
    arguments.add_argument("--json", type=Path, help="where to write the figures")
    arguments.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        CHILDREN[options.child](options.folder)
        sys.stdout.flush()
        os._exit(0)
    console = Console()
    arms: list[Arm] = []
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        for sixteenths in options.sixteenths:
            task = progress.add_task("")
            arms.append(measure(sixteenths, options.folder, lambda text: progress.update(task, description=text)))
            progress.stop_task(task)
    for arm in arms:
        print(arm.counts)
        for name, step in arm.steps.items(): print(f'{name:40s} {step.seconds:8.1f} {step.driver_gb:6.2f} {step.worker_gb:6.2f} {step.all_gb:6.2f}')


if __name__ == "__main__":
    main()
