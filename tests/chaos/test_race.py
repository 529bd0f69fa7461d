"""Two builds racing on one output: one commits, the other says so, and its next run loses nothing."""

import json
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import CONFLICT, DONE
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.storage.releases import latest_release, read_release, read_rows
from voxbeam.storage.store import Store

from tests.chaos.builds import Corpus, Reader, start_driver
from tests.servers.faulty_proxy import Faults, FaultyProxy, Request
from tests.servers.s3 import S3

pytestmark = [pytest.mark.chaos, pytest.mark.build]


class Race:
    """Two builds of two recordings each, one of which is in both."""

    INPUTS = (("ben", "leo"), ("leo", "mia"))

    def __init__(self, corpus: Corpus, folder: Path, output: str, environment: dict[str, str] | None = None) -> None:
        self.folder, self.environment = folder, environment
        names = {name for names in self.INPUTS for name in names}
        self.rows = {n: {"uri": str(corpus.source / f"{n}_1.flac"), "recording": n, "speaker": n} for n in names}
        self.options = ["--config", str(corpus.config), "--output", output, "--direct_num_workers=1"]

    def start(self, number: int) -> BaseProcess:
        listing = self.folder / f"{number}.jsonl"
        listing.write_text("".join(json.dumps(self.rows[name]) + "\n" for name in self.INPUTS[number]))
        return start_driver(["build", "--input", str(listing), *self.options], self.log(number), self.environment)

    def log(self, number: int) -> Path:
        return self.folder / f"{number}.log"

    def said(self, number: int) -> str:
        return " ".join(self.log(number).read_text().split())

    def run(self, store: Store) -> None:
        """Both at once, then the slower one again."""
        with Reader(store) as reader:
            drivers = [self.start(0), self.start(1)]
            for driver in drivers:
                driver.join()
            statuses = [driver.exitcode for driver in drivers]
            assert sorted(statuses) == [DONE, CONFLICT], [self.said(0), self.said(1)]
            loser = statuses.index(CONFLICT)
            assert "000001 was committed by another build" in self.said(loser)
            first = recordings(store)
            assert first == set(self.INPUTS[1 - loser])
            self.log(loser).unlink()
            again = self.start(loser)
            again.join()
            assert again.exitcode == DONE and "No model work: 1 unit reused" in self.said(loser), self.said(loser)
        assert recordings(store) == {"ben", "leo", "mia"}
        assert (reader.wrong, reader.seen) == ([], {1, 2})
        for number in (1, 2):
            assert list(verify_release(store, read_release(store, number))) == []


def recordings(store: Store) -> set[str]:
    """What the latest release holds."""
    release = latest_release(store)
    assert release is not None
    return {row.recording for row in read_rows(store, release, RecordingRow)}


def test_over_a_folder(corpus: Corpus, tmp_path: Path) -> None:
    Race(corpus, tmp_path, str(tmp_path / "out")).run(Store(str(tmp_path / "out")))


@pytest.mark.s3
def test_over_a_bucket(corpus: Corpus, s3: S3, client: None, tmp_path: Path) -> None:
    """Here both are held until both are about to commit."""
    both = threading.Barrier(2, timeout=120)

    def watch(request: Request) -> None:
        if request.method == "PUT" and request.path.endswith("race/releases/000001.json") and request.status is None:
            both.wait()

    with FaultyProxy(s3.url, Faults(), watch) as proxy:
        Race(corpus, tmp_path, "s3://corpora/race", s3.environment(proxy.url)).run(Store("s3://corpora/race"))
