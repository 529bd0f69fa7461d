"""The same command on a real Flink cluster gives the same bytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from voxbeam.pipeline.verify import verify_release
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store

from tests.pipeline.test_build import SHORT, copy_speakers, run_build, visible_bytes
from tests.servers.flink import flink_cluster


@pytest.fixture(scope="module")
def job_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with flink_cluster(tmp_path_factory.mktemp("flink")) as endpoint:
        yield endpoint


@pytest.mark.flink
@pytest.mark.build
def test_a_flink_cluster_gives_the_same_bytes(job_endpoint: str, tmp_path: Path) -> None:
    source = copy_speakers(tmp_path / "in", *SHORT)
    run_build(source, tmp_path / "here")
    there = ["--runner=PortableRunner", f"--job_endpoint={job_endpoint}", "--parallelism=2"]
    outcome = run_build(source, tmp_path / "flink", *there)
    assert outcome.committed and outcome.progress.units == len(SHORT)
    store = Store(str(tmp_path / "flink"))
    release = latest_release(store)
    assert release is not None and list(verify_release(store, release)) == []
    assert visible_bytes(tmp_path / "flink") == visible_bytes(tmp_path / "here")
