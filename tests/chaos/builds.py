"""What chaos is made of: a small corpus that grows, builds that can be killed, moments to kill them at, and a reader."""

import hashlib
import json
import os
import random
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import soundfile as sf

from voxbeam.pipeline.runners.fork_server import start_process
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store

from tests.pipeline.test_build import DEMO, run_build

CONFIG = CorpusConfig.model_validate(
    {
        "listing": {"speaker_path": "{speaker}_*"},  # the name of a recording itself would be no name
        "transcribe": {"language_model": None},  # seconds of loading, and nothing else here depends on it
        "filter": {"max_edge_jump": None},  # the pieces below are cut by the second, in the middle of words
        "pack": {"valid_fraction": 0.3, "test_fraction": 0.3},
        "codecs": {"second": {"codec": "embedded"}},  # a stage of its own, though its codes are those of the first
    }
)
SPEAKERS = {"ada": (0, 8), "ben": (12, 18), "cleo": (9, 17), "kay": (18, 26), "leo": (0, 6), "mia": (6, 12)}
"""seconds of a reading that each says; by their names two are in each split"""


@dataclass(frozen=True)
class Corpus:
    """What every build here makes release 2 of; one recording is in release 1 already, one is noise, one is broken."""

    source: Path
    config: Path
    base: Path
    """an output with release 1"""
    whole: Path
    """the same with release 2, made without any disturbance"""

    def moments(self, seed: int, count: int) -> list[int]:
        """Numbers of files below an output at which to strike: from the listing to the last shard.

        The manifests follow within milliseconds, too fast for who watches a folder; a bucket's requests can be held instead.
        """
        slow = [path for path in self.made() if not path.startswith(("manifests/", "releases/"))]
        return [len(files(self.base)) + number for number in moments(seed, count, len(slow))]

    @property
    def arguments(self) -> list[str]:
        return ["build", "--input", str(self.source), "--config", str(self.config)]

    def made(self) -> list[str]:
        """Paths of what release 2 adds to the output."""
        return sorted(files(self.whole).keys() - files(self.base).keys())

    def units(self) -> set[str]:
        return {path for path in self.made() if path.startswith("units/")}


def make_corpus(folder: Path) -> Corpus:
    source = folder / "in"
    source.mkdir()
    speech, rate = sf.read(next(DEMO.glob("austen_reader/*/*.flac")), dtype="float32")
    sf.write(source / "ada_1.flac", speech[: 8 * rate], rate)
    config = folder / "corpus.yaml"
    config.write_text(json.dumps(CONFIG.model_dump(mode="json")))  # JSON is YAML
    run_build(source, folder / "base", config=CONFIG)
    for speaker, (start, end) in SPEAKERS.items():
        sf.write(source / f"{speaker}_1.flac", speech[start * rate : end * rate], rate)
    noise = np.random.default_rng(0).normal(0, 0.05, 6 * rate).astype(np.float32)
    sf.write(source / "ivo_1.flac", speech[8 * rate : 14 * rate] + noise, rate)
    (source / "jon_1.flac").write_bytes(b"no audio at all")
    shutil.copytree(folder / "base", folder / "whole")
    outcome = run_build(source, folder / "whole", config=CONFIG)
    counts = outcome.release.counts
    assert outcome.release.number == 2 and counts["rejected"] and counts["quarantined"] == 1 and counts["shards"] == 4
    return Corpus(source, config, folder / "base", folder / "whole")


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Finished objects below a local output, each with inode and time of writing: what was written again shows."""
    found = {}
    for path in folder.rglob("*"):
        relative = str(path.relative_to(folder))
        if "#" in relative or relative.startswith(("progress", "manifests/parts")):  # `#`: being written by obstore
            continue
        try:
            if path.is_file():
                found[relative] = (path.stat().st_ino, path.stat().st_mtime_ns)
        except FileNotFoundError:
            continue
    return found


def moments(seed: int, count: int, total: int) -> list[int]:
    """As many numbers of 1 … total, drawn by seed, one from each of as many equal stretches: every phase is struck."""
    draw = random.Random(seed)
    edges = [total * n // count for n in range(count + 1)]
    return [draw.randint(low + 1, high) for low, high in pairwise(edges)]


def drive(arguments: list[str], environment: Mapping[str, str], log: str) -> None:
    """A driver process, from start to end: `voxbeam` with these arguments."""
    file = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.environ.update(environment)
    from voxbeam.commands.main import main

    os._exit(main(arguments))


def start_driver(arguments: list[str], log: Path, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """A driver forked from what has imported every library already, so that twenty of them take seconds each."""
    return start_process(drive, (arguments, dict(environment or {}), str(log)))


@contextmanager
def striking(folder: Path, numbers: Sequence[int], strike: Callable[[], bool]) -> Iterator[list[int]]:
    """Strikes as soon as there are this many files below a folder, for each number; gives the numbers at which that hit."""
    left, hit, stop = deque(numbers), list[int](), threading.Event()

    def watch() -> None:
        while left and not stop.wait(0.002):
            if len(files(folder)) >= left[0] and strike():
                hit.append(left.popleft())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield hit
    finally:
        stop.set()
        thread.join()


class Reader(threading.Thread):
    """Reads the latest release over and over, every byte that it names, until it is told to stop."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self.store = store
        self.seen: set[int] = set()
        self.wrong: list[str] = []
        self._stop_reading = threading.Event()

    def run(self) -> None:
        while not self._stop_reading.wait(0.05):
            self._read_once()

    def _read_once(self) -> None:
        try:
            release = latest_release(self.store)
            if release is not None:
                self.wrong += [f"{file}: other bytes" for file, digest in named(release).items() if self._hash(file) != digest]
                self.seen.add(release.number)
        except Exception as error:  # whatever a reader meets is a finding
            self.wrong.append(repr(error))

    def _hash(self, path: str) -> str:
        return hashlib.sha256(self.store.get(path)).hexdigest()

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_reading.set()
        self.join()
        self._read_once()


def named(release: Release) -> dict[str, str]:
    return {file.path: file.sha256 for file in release.files}


def assert_same_release(store: Store, corpus: Corpus) -> None:
    """Release 2 is, byte for byte, the undisturbed one, and so is all that it names."""
    whole = Store(str(corpus.whole))
    release = latest_release(whole)
    assert release is not None and release.number == 2
    assert store.get("releases/000002.json") == whole.get("releases/000002.json")
    for path, digest in named(release).items():
        assert hashlib.sha256(store.get(path)).hexdigest() == digest
    assert {path for path, _ in store.walk("units/")} == {path for path, _ in whole.walk("units/")}
