"""The same command on a real Spark cluster gives the same bytes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from voxbeam.pipeline.repack import release as repack
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store

from tests.codecs import with_moved
from tests.pipeline.test_build import SHORT, copy_speakers, run_build, visible_bytes
from tests.servers.spark import spark_cluster


@pytest.fixture(scope="module")
def job_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster(tmp_path_factory.mktemp("spark")) as endpoint:
        yield endpoint


@pytest.mark.spark
@pytest.mark.build
def test_a_spark_cluster_gives_the_same_bytes(job_endpoint: str, tmp_path: Path) -> None:
    """With a further codec; and a release by another policy too."""
    source, config = copy_speakers(tmp_path / "in", *SHORT), CorpusConfig.model_validate(with_moved(tmp_path))
    cluster = ["--runner=PortableRunner", f"--job_endpoint={job_endpoint}"]
    run_build(source, tmp_path / "here", config=config)
    outcome = run_build(source, tmp_path / "spark", *cluster, config=config)
    assert outcome.committed and outcome.progress.units == len(SHORT)
    # each of the two workers lives through all stages, and loads a model at most once; a codec, once each
    loads = dict(outcome.progress.loads)
    assert outcome.progress.processes == 2 and {"diarizer", "recognizer", "dnsmos", "tokenizer"} <= loads.keys()
    assert loads.pop("tokenizer") <= 4 and max(loads.values()) <= 2
    store = Store(str(tmp_path / "spark"))
    release = latest_release(store)
    assert release is not None and list(verify_release(store, release)) == []
    assert visible_bytes(tmp_path / "spark") == visible_bytes(tmp_path / "here")
    for place, options in (("here", ["--direct_num_workers=1"]), ("spark", cluster)):
        made = repack(str(tmp_path / place), {"filter": {"min_snr_db": 20.0}}, runner_args=options)
        assert made.committed and made.release is not None and made.release.codecs == ("moved",)
    assert visible_bytes(tmp_path / "spark") == visible_bytes(tmp_path / "here")
