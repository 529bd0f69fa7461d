"""A driver or a worker killed at any moment: the next run ends with the same bytes, nothing is done twice, no reader notices."""

import json
import multiprocessing
import random
import shutil
import signal
import threading
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
import pytest

from voxbeam.commands.exit_status import QUARANTINED
from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.pipeline.repack import release
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import WorkerLostError
from voxbeam.storage.cache import model_hash
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store

from tests.chaos.builds import (
    CONFIG,
    Corpus,
    Reader,
    assert_same_release,
    files,
    moments,
    start_driver,
    striking,
)
from tests.codecs import with_moved
from tests.pipeline.factories import contents
from tests.pipeline.test_build import run_build
from tests.servers.faulty_proxy import Faults, FaultyProxy, Request
from tests.servers.processes import wait_for
from tests.servers.s3 import S3

pytestmark = [pytest.mark.chaos, pytest.mark.build]

TENTH = Faults(refuse=0.04, cut=0.03, lose=0.03, stall=0.02, stall_s=0.5)
"""one request in ten fails, half of them after the server did what it was asked; some stall"""


def committed(output: Path) -> bool:
    """Whether it was too late for the kill to matter: the watcher of a folder may be slow."""
    return (output / "releases" / "000002.json").exists()


def killed(process: BaseProcess) -> bool:
    process.kill()
    return True


def test_a_driver_killed_over_a_folder(corpus: Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(corpus.base, output)
    arguments = [*corpus.arguments, "--output", str(output), "--direct_num_workers=1"]
    with Reader(Store(str(output))) as reader:
        for moment in corpus.moments(seed=1, count=4):
            before = files(output)
            driver = start_driver(arguments, tmp_path / "log")
            with striking(output, [moment], partial(killed, driver)):
                driver.join()
            assert driver.exitcode == -signal.SIGKILL or committed(output), (tmp_path / "log").read_text()
            assert before.items() <= files(output).items()
        finish(corpus, output, workers=2)
    assert (reader.wrong, reader.seen) == ([], {1, 2})


def test_a_driver_killed_while_it_releases_by_another_policy(corpus: Corpus, tmp_path: Path) -> None:
    """Killed at any file that it makes: the next run ends with the bytes of a build from nothing, and no unit is touched."""
    policy = {"filter": {"min_snr_db": 25.0, "max_edge_jump": None}, "exclude": {"recordings": {"kay_1": "no consent"}}}
    (tmp_path / "policy.yaml").write_text(json.dumps(policy))
    strict = CorpusConfig.model_validate({**CONFIG.model_dump(mode="json", exclude_unset=True), **policy})
    whole = run_build(corpus.source, tmp_path / "whole", config=strict).release
    output = tmp_path / "out"
    shutil.copytree(corpus.whole, output)
    arguments = ["release", str(output), "--config", str(tmp_path / "policy.yaml"), "--direct_num_workers=1"]
    first = files(output)
    with Reader(Store(str(output))) as reader:
        for extra in range(1, 5):
            before = files(output)
            driver = start_driver(arguments, tmp_path / "log")
            with striking(output, [len(first) + extra], partial(killed, driver)):
                driver.join()
            done = (output / "releases" / "000003.json").exists()
            assert driver.exitcode == -signal.SIGKILL or done, (tmp_path / "log").read_text()
            assert before.items() <= files(output).items()
        release(str(output), policy, runner_args=["--direct_num_workers=2"])
    assert (reader.wrong, reader.seen) == ([], {2, 3})
    made = latest_release(Store(str(output)))
    assert made is not None and made.number == 3 and whole is not None
    assert contents(made) == contents(whole)
    assert {path for path in files(output) if path.startswith("units/")} == {path for path in first if path.startswith("units/")}
    assert list(verify_release(Store(str(output)), made)) == []


def test_a_driver_killed_while_it_makes_two_stages_again(corpus: Corpus, tmp_path: Path) -> None:
    """Other codecs, the first and a further one: units begin with what earlier ones know. Killed among them, the next runs end
    with the same bytes."""
    config = tmp_path / "config.yaml"
    codec = {"tokenize": {"sha256": model_hash(str(EMBEDDED_WEIGHTS))}, **with_moved(tmp_path)}
    settings = CorpusConfig.model_validate({**CONFIG.model_dump(mode="json", exclude_unset=True), **codec})
    config.write_text(json.dumps(settings.model_dump(mode="json")))
    for name in ("whole", "out"):
        shutil.copytree(corpus.whole, tmp_path / name)
    whole = run_build(corpus.source, tmp_path / "whole", config=settings)
    assert set(whole.progress.seconds) == {"decode", "tokenize", "tokenize.moved"} and whole.committed
    output = tmp_path / "out"
    first = files(output)
    arguments = ["build", "--input", str(corpus.source), "--config", str(config), "--output", str(output)]
    with Reader(Store(str(output))) as reader:
        for extra in (2, 5):
            before = files(output)
            driver = start_driver([*arguments, "--direct_num_workers=1"], tmp_path / "log")
            with striking(output, [len(first) + extra], partial(killed, driver)):
                driver.join()
            done = (output / "releases" / "000003.json").exists()
            assert driver.exitcode == -signal.SIGKILL or done, (tmp_path / "log").read_text()
            assert before.items() <= files(output).items()
        outcome = run_build(corpus.source, output, "--direct_num_workers=2", config=settings)
    assert (reader.wrong, reader.seen) == ([], {2, 3}) and set(outcome.progress.seconds) <= set(whole.progress.seconds)
    assert outcome.progress.units < whole.progress.units, "what was finished before a kill is not done again"
    made = Store(str(output)).get("releases/000003.json")
    assert made == Store(str(tmp_path / "whole")).get("releases/000003.json")
    assert outcome.release is not None and list(verify_release(Store(str(output)), outcome.release)) == []


def test_a_worker_killed_over_a_folder(corpus: Corpus, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(corpus.base, output)
    draw = random.Random(2)

    def kill_a_worker() -> bool:
        workers = sorted(multiprocessing.active_children(), key=lambda worker: worker.pid or 0)
        if workers:
            draw.choice(workers).kill()
        return bool(workers)

    with Reader(Store(str(output))) as reader:
        for moment in corpus.moments(seed=2, count=4):
            before = files(output)
            lost = False
            with striking(output, [moment], kill_a_worker) as hit:
                try:
                    run_build(corpus.source, output, "--direct_num_workers=2", config=CONFIG)
                except WorkerLostError:
                    lost = True
            assert hit and (lost or committed(output))
            wait_for(lambda: not multiprocessing.active_children(), 30, "the other worker's end")
            assert before.items() <= files(output).items()
        finish(corpus, output, workers=1)
    assert (reader.wrong, reader.seen) == ([], {1, 2})


def finish(corpus: Corpus, output: Path, workers: int) -> None:
    """The build that nobody disturbs any more: what is left, and nothing else, is done."""
    before = files(output)
    left = corpus.units() - before.keys()
    outcome = run_build(corpus.source, output, f"--direct_num_workers={workers}", config=CONFIG)
    assert outcome.progress.units == len(left)
    assert before.items() <= files(output).items()
    assert_same_release(Store(str(output)), corpus)


class Assassin:
    """Sees every request of a build and kills its driver in the middle of the one that makes the n-th new object."""

    def __init__(self, prefix: str) -> None:
        self.prefix = f"/corpora/{prefix}/"
        self.made: set[str] = set()
        """objects that the server has created"""
        self.started: set[str] = set()
        """units that this run has not found finished, and so works on"""
        self.again: set[str] = set()
        """objects put although they had been there when this run began"""
        self._strike_at, self._server_hears = 0, False
        self._victim: BaseProcess | None = None
        self._before: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def aim(self, victim: BaseProcess | None, strike_at: int, server_hears: bool) -> None:
        """At the next run; `server_hears`: after the server has made the object, else before it hears of it."""
        self._victim, self._strike_at, self._server_hears = victim, strike_at, server_hears
        self._before, self.started = frozenset(self.made), set()

    def watch(self, request: Request) -> None:
        path = request.path.removeprefix(self.prefix)
        with self._lock:
            if request.method == "GET" and path.startswith("units/") and request.status == 404:
                self.started.add(path)
            if request.method != "PUT" or path.startswith(
                ("progress/", "builds/")
            ):  # a record of a build has its run in its name
                return
            if path in self._before and request.status == 200:
                self.again.add(path)
            new = path not in self.made
            if new and request.status == 200:
                self.made.add(path)
            nth = len(self.made) + (request.status is None)
            if new and nth == self._strike_at and self._server_hears == (request.status == 200) and self._victim:
                victim = psutil.Process(self._victim.pid)
                victim.kill()
                victim.wait(10)
                if not self._server_hears:
                    raise ConnectionAbortedError("the request dies with its client")


@pytest.mark.s3
def test_a_driver_killed_over_a_failing_bucket(corpus: Corpus, s3: S3, client: None, tmp_path: Path) -> None:
    killed, whole = Assassin("killed"), Assassin("whole")
    for prefix in ("killed", "whole"):
        for path in files(corpus.base):
            Store(f"s3://corpora/{prefix}").put_file(path, corpus.base / path)

    def run(assassin: Assassin, prefix: str, strike_at: int = 0) -> int | None:
        with FaultyProxy(s3.url, TENTH, assassin.watch) as proxy:
            arguments = [*corpus.arguments, "--output", f"s3://corpora/{prefix}", "--direct_num_workers=1"]
            driver = start_driver(arguments, tmp_path / prefix, s3.environment(proxy.url))
            assassin.aim(driver, strike_at, server_hears=strike_at % 2 == 0)
            driver.join()
            return driver.exitcode

    with Reader(Store("s3://corpora/whole")) as reader:
        assert run(whole, "whole") == QUARANTINED, (tmp_path / "whole").read_text()
    assert (reader.wrong, reader.seen) == ([], {1, 2})
    assert_same_release(Store("s3://corpora/whole"), corpus)
    assert len(whole.started) == len(corpus.units())

    with Reader(Store("s3://corpora/killed")) as reader:
        for moment in moments(seed=3, count=8, total=len(whole.made)):
            finished = {path for path in killed.made if path.startswith("units/")}
            assert run(killed, "killed", moment) == -signal.SIGKILL, (tmp_path / "killed").read_text()
            assert not killed.started & finished
            assert len(killed.started - killed.made) <= 1
        finished = {path for path in killed.made if path.startswith("units/")}
        assert run(killed, "killed") == QUARANTINED, (tmp_path / "killed").read_text()
        assert killed.started == corpus.units() - finished
    assert not killed.again and killed.made == whole.made
    assert (reader.wrong, reader.seen) == ([], {1, 2})
    assert_same_release(Store("s3://corpora/killed"), corpus)
