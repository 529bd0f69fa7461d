"""Progress: tallies of all workers add up, and the slowest units of all are named."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from voxbeam.commands.display import slowest_table
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat, running_builds
from voxbeam.pipeline.progress import MAX_SLOWEST, Reporter, SlowUnit, WorkerProgress, clear_progress, read_progress
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitState

from tests.pipeline.factories import result


def unit(seconds: float) -> SlowUnit:
    return SlowUnit(recording="r", start_ms=0, end_ms=60_000, seconds=seconds, stage="score", stage_seconds=seconds / 2)


@given(st.lists(st.lists(st.floats(0, 1e4)), max_size=5))
def test_slowest_of_all_workers_are_kept(workers: list[list[float]]) -> None:
    total = WorkerProgress()
    for seconds in workers:
        own = WorkerProgress()
        for each in seconds:
            own.add(WorkerProgress(units=1, slowest=[unit(each)]))
        total.add(own)
    everyone = sorted((each for seconds in workers for each in seconds), reverse=True)
    assert [slow.seconds for slow in total.slowest] == everyone[:MAX_SLOWEST]
    assert total.units == len(everyone)


def test_the_longest_stage_is_named() -> None:
    work = UnitState(unit=result(0, 20_000, 80_000, 80_000).unit, seconds={"decode": 1.0, "score": 3.25, "filter": 0.5})
    assert SlowUnit.of(work) == replace(unit(4.75), start_ms=20_000, end_ms=80_000, stage_seconds=3.25)


def test_what_workers_write_is_read_and_shown(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for number in range(2):
        reporter = Reporter(str(tmp_path), "run")
        reporter.path += str(number)  # as another process would
        reporter.update(WorkerProgress(units=1, seconds={"score": 2.0}, slowest=[unit(2.0 + number)]))
    tallies = read_progress(store, "run")
    assert (tallies.units, tallies.seconds, tallies.slowest) == (2, {"score": 4.0}, [unit(3.0), unit(2.0)])
    console = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    console.print(slowest_table(tallies))
    assert "r 0 s 60 s 3.0 s 20.0× score, 1.5 s r 0 s 60 s 2.0 s 30.0×" in " ".join(console.export_text().split())
    clear_progress(store, "run")
    assert read_progress(store, "run") == WorkerProgress()


def test_a_local_build_that_fails_counts_as_stopped_at_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for local in (True, False):  # workers on a cluster may go on without the driver
        run_id = f"run{local}"
        with pytest.raises(ValueError, match="fails"), heartbeat(store, run_id, BuildInfo(local=local)):
            assert run_id in running_builds(store)
            raise ValueError("the build fails")
        assert (run_id in running_builds(store)) is not local
    time.sleep(0.01)
    store.replace("progress/runTrue/worker-1", b"{}")  # one that did not end
    assert "runTrue" in running_builds(store)
