"""Executors and workers of a Spark cluster killed while they work: Spark tries again, and the release is the same."""

import itertools
import random
import shutil
from pathlib import Path

import psutil
import pytest

from assets.storage import Store
from tests.chaos.builds import CONFIG, Corpus, Reader, assert_same_release, files, striking
from tests.pipeline.test_build import run_build
from tests.servers.process import wait_for
from tests.servers.spark import spark_cluster

pytestmark = [pytest.mark.chaos, pytest.mark.build, pytest.mark.spark]

EXECUTOR, SDK_WORKER = "CoarseGrainedExecutorBackend", "sdk_worker_main"


def below(program: str) -> list[psutil.Process]:
    """Processes of the cluster that run a program."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any(program in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.pid)


def test_executors_and_workers_killed(corpus: Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(corpus.base, output)
    draw, programs = random.Random(4), itertools.cycle([EXECUTOR, SDK_WORKER])

    def strike() -> None:
        program = next(programs)
        wait_for(lambda: bool(below(program)), 60, program)
        draw.choice(below(program)).kill()

    before = files(output)
    with spark_cluster(tmp_path / "spark") as endpoint, Reader(Store(str(output))) as reader:
        with striking(output, corpus.moments(seed=4, count=4), strike):
            outcome = run_build(
                corpus.source, output, "--runner=PortableRunner", f"--job_endpoint={endpoint}", config=CONFIG
            )
    assert outcome.release.number == 2
    assert before.items() <= files(output).items()
    assert (reader.wrong, reader.seen) == ([], {1, 2})
    assert_same_release(Store(str(output)), corpus)
