"""Time and memory of everything but audio and models, for 12 million segments in 220,000 recordings, and for parts of it.

    PYTHONPATH=. python benchmarks/scale.py [--sixteenths 1 4 16] [--folder FOLDER] [--json FILE]

A build runs as `voxbeam build` runs it, on two workers, with two parts replaced (`synthetic.py`): the probe, which invents a
recording's length, and the stages, which invent its segments. Listing, planning, resuming, unit files, linking, shards, manifests
and commit are the real ones. Then the same build again, which has nothing to do; `status`; and the loader.

Memory is the resident size of every process, sampled four times a second; a worker starts with 1 GB of libraries. On a machine
with other work, processor time shows growth better than wall time. To save disk, shards become empty files of the same size as
soon as they are written, and what the loader reads is restored before it does. The largest run takes 15 GB.
"""

import argparse
import json
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from io import StringIO
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from voxbeam.commands.status import print_status
from voxbeam.pipeline.build import build, put_listing
from voxbeam.pipeline.runners import fork_server
from voxbeam.pipeline.status import read_status
from voxbeam.pipeline.steps.discover import discover
from voxbeam.schemas.config import CorpusConfig
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store
from voxbeam.trainer.data.sampler import LoaderPosition
from voxbeam.trainer.data.stream import Stream

from benchmarks.resource_monitor import Step, Watched, tell
from benchmarks.synthetic import CONFIG, RECORDINGS, made_up_build, put_back, write_listing

FUSED = {
    "ReadListing": "build: read the listing",
    "ProbeRecordings": "build: probe (made up)",
    "PlanUnits": "build: plan units",
    "LoadFinishedUnit": "build: unit files",
    "LinkRecordings": "build: link, share out",
    "WriteShards": "build: shards, samples",
    "WriteTables": "build: recordings, rejected",
    "CommitRelease": "build: commit",
}
"""a transform of each stage that the runner makes of the graph"""
HIDDEN = "(samples put back)"
READ_STEPS = 40


def step_list(folder: Path) -> None:
    config = CorpusConfig.model_validate(CONFIG).listing
    tell(step="list: find, name, put")
    put_listing(Store(str(folder / "listed")), discover(str(folder / "listing.parquet"), config).recordings)


class _TellStages(logging.Handler):
    """Tells which stage the in-process runner begins."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Running bundle") and isinstance(record.args, tuple):
            stage = str(record.args[0])
            tell(step=next((name for transform, name in FUSED.items() if transform in stage), "build: the rest"))


def step_build(folder: Path) -> None:
    fork_server.start()
    log = logging.getLogger("apache_beam.runners.portability.fn_api_runner.fn_runner.run_bundle")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_TellStages())
    tell(step="build: list, hash models")
    with made_up_build():
        config = CorpusConfig.model_validate(CONFIG)
        outcome = build(str(folder / "listing.parquet"), str(folder / "corpus"), config, runner_args=["--direct_num_workers=2"])
    assert outcome.release is not None
    tell(counts=outcome.release.counts, files=len(outcome.release.files))


def step_read(folder: Path) -> None:
    store = Store(str(folder / "corpus"))
    for kind in ("units", "shards", "manifests"):
        sizes = [size for _, size in store.walk(f"{kind}/")]
        tell(**{kind: len(sizes), f"{kind}_bytes": sum(sizes)})
    tell(step="read: latest release")
    latest_release(store)
    tell(step="read: status")
    print_status(read_status(store.root), Console(file=StringIO()))


def step_loader(folder: Path) -> None:
    os.environ["VOXBEAM_CACHE"] = str(folder / "cache")
    uri = str(folder / "corpus")
    tell(step="loader: make the index")
    Stream(uri)
    tell(step="loader: open the index")
    stream = Stream(uri)
    start, late = LoaderPosition(0, 0, 0), LoaderPosition(0, int(stream.sampler.windows * 0.9), 3)
    tell(step=HIDDEN)
    for place in (start, late):
        put_back(stream, np.concatenate([samples for _, samples in islice(stream.sampler.iter_from(place), READ_STEPS)]))
    tell(step="loader: first batch")
    next(stream.steps(int(start)))
    tell(step="loader: first batch at 90 %")
    next(stream.steps(int(late)))
    tell(train=len(stream.index))


STEPS: dict[str, Callable[[Path], None]] = {
    "list": step_list, "build": step_build, "again": step_build, "read": step_read, "loader": step_loader,
}  # fmt: skip
"""each in a process of its own"""


def empty_shards(corpus: Path, emptied: set[Path]) -> None:
    """Gives the blocks of finished shards back to the disk; they keep their size."""
    for shard in set(corpus.glob("shards/*/*.tar")) - emptied:
        size = shard.stat().st_size
        os.truncate(shard, 0)
        os.truncate(shard, size)
        emptied.add(shard)


def measure(recordings: int, root: Path, progress: Progress) -> Watched:
    """All steps on a corpus of this many recordings. Shows the one at work, and leaves a line of each that has ended."""
    watched = Watched()
    task = progress.add_task("")
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        emptied: set[Path] = set()
        told: set[str] = {HIDDEN}
        write_listing(folder / "listing.parquet", recordings)

        def meanwhile() -> None:
            empty_shards(folder / "corpus", emptied)
            progress.update(task, description=f"{recordings:,} recordings: {watched.now or ''}")
            for ended in watched.steps.keys() - {watched.now} - told:
                step = watched.steps[ended]
                told.add(ended)
                progress.console.print(f"{recordings:,} recordings: {ended}: {step.wall_s:,.1f} s, at most {step.all_gb:.1f} GB")

        for step in STEPS:
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
            watched.run(command, meanwhile, as_one="build again: nothing new" if step == "again" else None)
    progress.stop_task(task)
    return watched


def growth_table(arms: dict[int, Watched]) -> Table:
    """A row a step; growth is the exponent of processor time between the two largest: 1 is linear."""
    table = Table(title="processor s (wall s); largest GB of the driver, of a worker", title_justify="left", box=None)
    table.add_column("step")
    for recordings, watched in arms.items():
        table.add_column(f"{recordings:,}", justify="right")
        table.add_column(f"GB of {watched.results['counts']['samples'] / 1e6:.1f} M", justify="right")
    table.add_column("growth", justify="right")
    for name in next(iter(arms.values())).steps:
        if name != HIDDEN:
            steps = [watched.steps.get(name, Step()) for watched in arms.values()]
            cells = [text for step in steps for text in (f"{step.cpu_s:,.1f} ({step.wall_s:,.1f})", _memory(step))]
            table.add_row(name, *cells, _growth(list(arms), steps))
    return table


def _memory(step: Step) -> str:
    return " ".join(f"{size:.2f}" for size in (step.driver_gb, step.worker_gb) if size) or "—"


def _growth(recordings: list[int], steps: list[Step]) -> str:
    if len(steps) < 2 or min(steps[-1].cpu_s, steps[-2].cpu_s) < 1:
        return "—"
    return f"{math.log(steps[-1].cpu_s / steps[-2].cpu_s) / math.log(recordings[-1] / recordings[-2]):.2f}"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--sixteenths", type=float, nargs="+", default=[1, 4, 16], help="of 220,000 recordings (default: %(default)s)"
    )
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for 15 GB (default: %(default)s)")
    arguments.add_argument("--json", type=Path, help="where to write the figures")
    arguments.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.step:
        STEPS[options.step](options.folder)
        sys.stdout.flush()
        os._exit(0)  # Beam's threads make the interpreter's own way out abort now and then
    console = Console()
    arms: dict[int, Watched] = {}
    with Progress(SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}"), console=console) as progress:
        for recordings in (round(RECORDINGS * sixteenths / 16) for sixteenths in options.sixteenths):
            arms[recordings] = measure(recordings, options.folder, progress)
            if options.json:
                options.json.write_text(json.dumps({n: asdict(watched) for n, watched in arms.items()}, indent=1) + "\n")
    console.print(growth_table(arms))
    for recordings, watched in arms.items():
        console.print(f"{recordings:,} recordings: {watched.results}")


if __name__ == "__main__":
    main()
