"""What a worker raises, and how it ends, reaches the caller of `build` as an error of its own class."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from voxbeam.pipeline.build import build
from voxbeam.pipeline.error_reports import read_reported_error, report_error
from voxbeam.pipeline.events import BuildProgress
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import CommitConflictError, ModelError, StageError, StorageError, VoxbeamError, WorkerLostError
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import release_path
from voxbeam.storage.store import Store
from voxbeam.transforms.base import UnitStage, UnitState, once_per_process

from benchmarks.synthetic import CONFIG, made_up_build, write_listing


@once_per_process
def load_missing(path: str) -> bytes:
    return Path(path).read_bytes()


class MissingModel(UnitStage):
    name = "tokenize"

    def run(self, work: UnitState) -> UnitState:
        load_missing("/nowhere/model")
        return work


class KilledWorker(UnitStage):
    name = "tokenize"

    def run(self, work: UnitState) -> UnitState:
        os.kill(os.getpid(), signal.SIGKILL)
        return work


def run(
    folder: Path, workers: int, stage: UnitStage | None = None, on_progress: Callable[[BuildProgress], None] | None = None
) -> VoxbeamError:
    """The error in which a build without audio ends, with a stage in place of all others."""
    write_listing(folder / "listing.parquet", 4)
    config = CorpusConfig.model_validate(CONFIG)
    with made_up_build(), pytest.raises(VoxbeamError) as caught:
        if stage is not None:
            with patch("voxbeam.pipeline.steps.units.build_stages", lambda config: [stage]):
                _build(folder, config, workers, on_progress)
        else:
            _build(folder, config, workers, on_progress)
    return caught.value


def _build(folder: Path, config: CorpusConfig, workers: int, on_progress: Callable[[BuildProgress], None] | None) -> None:
    arguments = [f"--direct_num_workers={workers}"]
    build(str(folder / "listing.parquet"), str(folder / "out"), config, runner_args=arguments, on_progress=on_progress)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_missing_model(workers: int, tmp_path: Path) -> None:
    error = run(tmp_path, workers, MissingModel())
    assert type(error) is ModelError and error.exit_status == 2
    assert "load_missing" in error.message and "/nowhere/model" in error.message
    assert "load_missing" in Path(str(error.worker_log)).read_text()


def test_a_lost_commit_race(tmp_path: Path) -> None:
    other = Release(number=1, parent=None, code_version=1, fingerprint="0" * 16, config={}, models={}, counts={}, files=())

    def commit_first(event: BuildProgress) -> None:
        if event.phase == "run":
            Store(str(tmp_path / "out")).put_if_absent(release_path(1), other.to_json())

    error = run(tmp_path, 1, on_progress=commit_first)
    assert type(error) is CommitConflictError and error.exit_status == 4
    assert "release 000001" in error.message and "run the same command again" in str(error.remedy)


@pytest.mark.slow
def test_a_killed_worker(tmp_path: Path) -> None:
    error = run(tmp_path, 2, KilledWorker())
    assert type(error) is WorkerLostError and error.exit_status == 5
    assert error.message == "a worker process was killed by signal 9" and "finished units are kept" in str(error)
    assert error.worker_log is not None and Path(error.worker_log).exists()


@pytest.mark.parametrize(
    "error",
    [
        ModelError("no such model", remedy="name another"),
        StorageError("cannot use s3://a"),
        StageError("empty_file", "it has 0 bytes", "copy it again"),
        WorkerLostError("it died"),
        CommitConflictError.of_release(3),
    ],
)
def test_an_error_survives_as_data(error: VoxbeamError, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert read_reported_error(store, "run") is None
    report_error(store, "run", error)
    read = read_reported_error(store, "run")
    assert type(read) is type(error) and str(read) == str(error) and vars(read) == vars(error)
