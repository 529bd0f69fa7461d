"""Executors and workers of a Spark cluster killed while they work: Spark tries again, and the release is the same."""

import random
import shutil
from collections import deque
from pathlib import Path

import psutil
import pytest

from voxbeam.storage.store import Store

from tests.chaos.builds import CONFIG, Corpus, Reader, assert_same_release, files, striking
from tests.pipeline.test_build import run_build
from tests.servers.spark import spark_cluster

pytestmark = [pytest.mark.chaos, pytest.mark.build, pytest.mark.spark]

EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
SDK_WORKER = "apache_beam.runners.worker.sdk_worker_main"


def below(program: str) -> list[psutil.Process]:
    """Processes of the cluster that run a program."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if program in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.pid)


def test_executors_and_workers_killed(corpus: Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(corpus.base, output)
    draw, programs = random.Random(4), deque([EXECUTOR, SDK_WORKER])

    def strike() -> bool:
        """Kills one of each in turn, where there is one just now."""
        found = below(programs[0])
        if found:
            draw.choice(found).kill()
            programs.rotate(1)
        return bool(found)

    before, moments = files(output), corpus.moments(seed=4, count=4)
    with (
        spark_cluster(tmp_path / "spark") as endpoint,
        Reader(Store(str(output))) as reader,
        striking(output, moments, strike) as hit,
    ):
        outcome = run_build(corpus.source, output, "--runner=PortableRunner", f"--job_endpoint={endpoint}", config=CONFIG)
    assert outcome.release.number == 2 and hit == moments
    assert before.items() <= files(output).items()
    assert (reader.wrong, reader.seen) == ([], {1, 2})
    assert_same_release(Store(str(output)), corpus)
