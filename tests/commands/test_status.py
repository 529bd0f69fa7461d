"""What `status` says of builds that run elsewhere."""

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from voxbeam.commands.exit_status import QUARANTINED
from voxbeam.commands.report import print_release
from voxbeam.commands.status import print_status, run_line
from voxbeam.pipeline.heartbeat import BuildInfo, Heartbeat, heartbeat, read_heartbeat
from voxbeam.pipeline.progress import Reporter, WorkerProgress
from voxbeam.pipeline.status import BuildStatus, read_status
from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store, _open

from tests.pipeline.factories import small_release
from tests.pipeline.test_build import ROOT, SHORT, copy_speakers
from tests.servers.s3 import s3_server

INFO = BuildInfo(recordings=7, release=3)


def build_status(beat: Heartbeat, workers: WorkerProgress) -> BuildStatus:
    return BuildStatus(run_id="ab12", heartbeat=beat, workers=workers)


def test_doubtful_identities_are_said(tmp_path: Path) -> None:
    store, release = small_release(tmp_path)
    for mean, said in ((0.02, False), (0.19, True)):
        printed = io.StringIO()
        print_release(store, replace(release, labels={"mean_similarity": mean}), Console(file=printed, width=500))
        assert ("Identities are doubtful" in printed.getvalue()) == said


def test_a_build_that_runs_and_one_that_does_not() -> None:
    workers = WorkerProgress(
        probed=5,
        probed_ms=400_000,
        quarantined=1,
        already_released_ms=50_000,
        audio_ms={"failed": 30_000, "reused": 20_000, "done": 180_000},
    )
    running = run_line(build_status(Heartbeat(info=INFO, elapsed_s=8995, silent=timedelta(seconds=5)), workers))
    assert (
        "build ab12 towards release 000003, running for 2.5 h: 5 of 7 recordings probed, 3.0 min done, 2.0 min remaining"
        in running
    )
    assert "quarantined 1" in running
    gone = run_line(build_status(Heartbeat(info=INFO, elapsed_s=9000, silent=timedelta(minutes=10)), workers))
    assert "stopped 10.0 min ago; run the same command again to resume" in gone


def test_a_job_handed_over_lives_on_in_its_workers(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with heartbeat(store, "ab12", INFO):
        pass
    Reporter(store.root, "ab12").update(WorkerProgress(probed=1))
    head, worker = sorted((tmp_path / "progress/ab12").iterdir(), key=lambda path: path.name != "build.json")
    hour_ago = time.time() - 3600
    os.utime(head, (hour_ago, hour_ago))
    beat = read_heartbeat(store, "ab12")
    assert beat is not None and beat.silent < timedelta(seconds=60) and 3590 < beat.elapsed_s < 3660
    os.utime(worker, (hour_ago + 1800, hour_ago + 1800))
    beat = read_heartbeat(store, "ab12")
    assert beat is not None and beat.silent >= timedelta(minutes=30) and 1790 < beat.elapsed_s < 1860


@pytest.mark.parametrize("ahead_s", [-5.0, 5.0, 3600.0])
def test_clocks_that_differ_make_no_negative_times(ahead_s: float, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with heartbeat(store, "ab12", INFO):
        pass
    stamp = time.time() + ahead_s
    os.utime(tmp_path / "progress/ab12/build.json", (stamp, stamp))
    beat = read_heartbeat(store, "ab12")
    assert beat is not None
    line = run_line(build_status(beat, WorkerProgress(probed_ms=9000, audio_ms={"tokenize": 3000})))
    assert "-" not in line, line


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        yield "s3://corpora/corpus"
        _open.cache_clear()


@pytest.mark.build
@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.s3)])
def test_done_left_and_quarantined_while_a_build_runs_elsewhere(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Seen through the store alone, as from another machine."""
    output = str(tmp_path / "out") if where == "folder" else str(request.getfixturevalue("bucket"))
    source = copy_speakers(tmp_path / "in", *SHORT)
    (source / "empty.wav").touch()
    command = [sys.executable, "beam_runner.py", "build", "--input", str(source), "--output", output, "--direct_num_workers=2"]
    build = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen = ""
    deadline = time.monotonic() + 300
    while build.poll() is None and time.monotonic() < deadline:
        seen += status(output)
        time.sleep(0.3)
    assert build.wait() == QUARANTINED, build.stdout and build.stdout.read()
    assert re.search(r"towards release 000001, running for \d+ s: 0 of 3 recordings probed", seen), seen
    assert re.search(r"3 of 3 recordings probed, 0 s done, 3\d s remaining .* quarantined 1", seen), seen
    assert "1 done, 0 partial, 1 quarantined" not in seen
    at_the_end = status(output)
    assert "2 done, 0 partial, 1 quarantined" in at_the_end and "running" not in at_the_end


def status(output: str) -> str:
    console = Console(width=400, no_color=True)
    with console.capture() as printed, suppress(StorageError):  # until the build has written an object there is no corpus
        print_status(read_status(output), console)
    return printed.get()
