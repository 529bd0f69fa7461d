"""A corpus whose speech is made up, to make releases of: no model runs, and the recordings do not exist."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.pipeline.build import BuildResult, build
from voxbeam.pipeline.repack import ReleaseResult, release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import latest_release, read_rows
from voxbeam.storage.store import Store

from benchmarks.synthetic import CONFIG, made_up_build

SETTINGS: dict[str, Any] = {**CONFIG, "pack": {"valid_fraction": 0.3, "test_fraction": 0.3}}
RECORDINGS = [f"s{number % 2}-{number}" for number in range(6)]
"""by two speakers"""
ONE_WORKER = ["--direct_num_workers=1"]


def make_base(folder: Path) -> Path:
    """Makes `listing.parquet` and, by a build of it, `out` in a folder, and returns the folder."""
    listed = [{"uri": f"/audio/{name}.flac", "recording": name, "speaker": name[:2]} for name in RECORDINGS]
    pq.write_table(pa.Table.from_pylist(listed), folder / "listing.parquet")
    build_with({}, folder / "listing.parquet", folder / "out")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with one release, beside its listing."""
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def output(base: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(base / "out", tmp_path / "out")
    return tmp_path / "out"


def build_with(policy: dict[str, Any], listing: Path, output: Path) -> BuildResult:
    settings = {**SETTINGS, **policy, "filter": {**SETTINGS["filter"], **policy.get("filter", {})}}
    with made_up_build():
        return build(str(listing), str(output), CorpusConfig.model_validate(settings), runner_args=ONE_WORKER)


def release_with(policy: Any, output: Path, *options: str, **more: Any) -> ReleaseResult:
    return release(str(output), policy, runner_args=options or ONE_WORKER, **more)


def latest(output: Path) -> tuple[Store, Release]:
    store = Store(str(output))
    found = latest_release(store)
    assert found is not None
    return store, found


def rows(output: Path, record: Any) -> list[Any]:
    return list(read_rows(*latest(output), record))
