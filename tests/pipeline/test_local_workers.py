"""Worker processes of a local build: forked, mourned when they die, and gone when the driver is."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam
import psutil
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from assets.releases import latest_release
from assets.storage import Store
from beam_runner import OK, WORKER_LOST
from pipeline.fork_server import LOCAL_RUNNER, local_workers
from pipeline.gpus import visible_gpus
from pipeline.local_workers import ForkedEnvironment
from pipeline.verify import verify_release
from schemas.failure import ModelError
from tests.pipeline.test_build import ROOT, SHORT, copy_speakers


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        (["--direct_num_workers=3"], 3),
        (["--direct_num_workers", "1", "--experiments=x"], 1),
        ([f"--runner={LOCAL_RUNNER}", "--direct_num_workers=2"], 2),
        (["--runner=SparkRunner", "--direct_num_workers=2"], 0),
        (["--runner", "DataflowRunner"], 0),
    ],
)
def test_workers_that_the_options_ask_for(options: list[str], workers: int) -> None:
    assert local_workers(options) == workers


def test_one_worker_per_core_by_default() -> None:
    assert local_workers([]) == local_workers(["--direct_num_workers=0"]) >= 1


def test_one_worker_per_gpu_where_the_models_run_on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_workers([], gpus=4) == 4
    assert local_workers(["--direct_num_workers=6"], gpus=4) == 6
    assert local_workers(["--runner=SparkRunner"], gpus=4) == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 3,GPU-8a,")
    assert visible_gpus() == ["3", "GPU-8a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(ModelError, match="device: cpu"):
        visible_gpus()


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
        workers = self.workers()
        return len(workers) == 2 and any(worker.children() for worker in workers)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.build
def test_a_killed_worker_ends_the_build_which_can_go_on(tmp_path: Path) -> None:
    build = Build(tmp_path)
    wait_for(build.working, 120)
    build.workers()[0].kill()
    printed, _ = build.process.communicate(timeout=60)
    assert build.process.returncode == WORKER_LOST
    assert "run the same command again" in " ".join(printed.split())
    store = Store(str(build.output))
    assert latest_release(store) is None

    again = Build(tmp_path)
    printed, _ = again.process.communicate(timeout=300)
    assert again.process.returncode == OK, printed
    release = latest_release(store)
    assert release is not None and list(verify_release(store, release)) == []


@pytest.mark.build
def test_workers_go_when_the_driver_is_killed(tmp_path: Path) -> None:
    build = Build(tmp_path)
    wait_for(build.working, 120)
    left = [process for worker in build.workers() for process in (worker, *worker.children())]
    build.process.kill()
    build.process.wait()
    _, alive = psutil.wait_procs(left, timeout=15)
    assert not alive, alive
