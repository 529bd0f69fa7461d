"""Worker processes of a local build: forked, mourned when they die, and gone when the driver is."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import apache_beam as beam
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from voxbeam.commands.exit_status import DONE, WORKER_LOST
from voxbeam.pipeline.runners.gpus import visible_gpus
from voxbeam.pipeline.runners.local import ForkedEnvironment
from voxbeam.pipeline.runners.options import RunnerOptions
from voxbeam.pipeline.runners.useful_workers import workers_to_pack, workers_to_probe
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ModelError
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store

from tests.pipeline.test_build import ROOT, SHORT, copy_speakers
from tests.servers.processes import wait_for


def test_one_worker_per_gpu_where_the_models_run_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RunnerOptions([]).local_workers(gpus=4) == 4
    assert RunnerOptions(["--direct_num_workers=6"]).local_workers(gpus=4) == 6
    assert RunnerOptions(["--runner=SparkRunner"]).local_workers(gpus=4) == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 3,GPU-8a,")
    assert visible_gpus() == ["3", "GPU-8a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(ModelError, match="device: cpu"):
        visible_gpus()


def test_no_more_workers_than_are_of_use_unless_a_number_is_given() -> None:
    assert RunnerOptions([]).local_workers(gpus=4, useful=1) == 1
    assert RunnerOptions([]).local_workers(gpus=4, useful=9) == 4
    assert RunnerOptions(["--direct_num_workers=6"]).local_workers(useful=1) == 6
    assert RunnerOptions(["--runner=SparkRunner"]).local_workers(useful=1) == 0


def test_workers_that_are_of_use_grow_with_the_corpus() -> None:
    config, hours = CorpusConfig(), 3_600_000
    small, large = {"recordings": 40, "duration_ms": 2 * hours}, {"recordings": 10_000, "duration_ms": 5_000 * hours}
    assert workers_to_pack(small, config) == 1 and workers_to_probe({"recordings": 20, "duration_ms": 2 * hours}, config) == 1
    assert workers_to_probe(small, config) == 2 and workers_to_pack(large, config) > 32


def told(element: tuple[int, Iterable[int]]) -> str:
    return os.environ.get("TOLD_LATER", "nothing")


@pytest.mark.slow
def test_workers_know_what_the_driver_was_told_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time, the fork server is older than what was said."""
    for word in ("first", "second"):
        monkeypatch.setenv("TOLD_LATER", word)
        seen = tmp_path / word
        runner = FnApiRunner(default_environment=ForkedEnvironment(str(tmp_path / "log")))
        with beam.Pipeline(runner=runner, options=PipelineOptions(["--direct_num_workers=1"])) as root:
            _ = root | beam.Create([(1, 1)]) | beam.GroupByKey() | beam.Map(told) | beam.io.WriteToText(str(seen))
        assert [file.read_text().strip() for file in tmp_path.glob(f"{word}*")] == [word]


def gpu_seen_by(element: tuple[int, Iterable[int]]) -> str:
    time.sleep(0.05)  # so that one worker does not take everything
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all")


@pytest.mark.slow
def test_each_worker_sees_one_gpu(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    options = PipelineOptions(["--direct_num_workers=2"])
    runner = FnApiRunner(default_environment=ForkedEnvironment(str(tmp_path / "log"), ["5", "7"]))
    with beam.Pipeline(runner=runner, options=options) as root:
        _ = (
            root
            | beam.Create([(number, number) for number in range(40)])
            | beam.GroupByKey()
            | beam.Map(gpu_seen_by)
            | beam.combiners.Count.PerElement()
            | beam.io.WriteToText(str(seen))
        )
    lines = [line for file in tmp_path.glob("seen*") for line in file.read_text().splitlines()]
    assert sorted(line.split("'")[1] for line in lines) == ["5", "7"]


class Build:
    """`voxbeam build` of two recordings with two workers, as a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "out"
        source = folder / "in"
        if not source.exists():
            copy_speakers(source, *SHORT)
        command = [sys.executable, "beam_runner.py", "build", "--input", str(source), "--output", str(self.output)]
        self.process = subprocess.Popen(
            [*command, "--direct_num_workers=2"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def workers(self) -> list[psutil.Process]:
        """The processes that the fork server has forked."""
        return [child for server in psutil.Process(self.process.pid).children() for child in server.children()]

    def working(self) -> bool:
        """Whether two workers are there and one of them has started its decoder."""
        try:
            workers = self.workers()
            return len(workers) == 2 and any(worker.children() for worker in workers)
        except psutil.NoSuchProcess:  # some helper of a library that came and went
            return False


@pytest.mark.build
def test_a_killed_worker_ends_the_build_which_can_go_on(tmp_path: Path) -> None:
    build = Build(tmp_path)
    wait_for(build.working, 120, "a worker at work")
    build.workers()[0].kill()
    printed, _ = build.process.communicate(timeout=60)
    assert build.process.returncode == WORKER_LOST
    assert "run the same command again" in " ".join(printed.split())
    store = Store(str(build.output))
    assert latest_release(store) is None

    again = Build(tmp_path)
    printed, _ = again.process.communicate(timeout=300)
    assert again.process.returncode == DONE, printed
    release = latest_release(store)
    assert release is not None and list(verify_release(store, release)) == []


@pytest.mark.build
def test_workers_go_when_the_driver_is_killed(tmp_path: Path) -> None:
    build = Build(tmp_path)
    wait_for(build.working, 120, "a worker at work")
    left = [process for worker in build.workers() for process in (worker, *worker.children())]
    build.process.kill()
    build.process.wait()
    _, alive = psutil.wait_procs(left, timeout=15)
    assert not alive, alive
