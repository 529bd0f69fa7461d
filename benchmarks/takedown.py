"""Time of a takedown in a corpus of many shards, whose samples are made up.

    PYTHONPATH=. python benchmarks/takedown.py [--shards 10000] [--folder FOLDER] [--corpus s3://BUCKET/NAME]

Every shard has eight samples of 2 s, of two recordings by different people; one person is in four recordings, which are in four
shards. With --corpus it is in a bucket, to which the usual environment variables lead. Sizes of shards are not those of a real
corpus, numbers of objects and rows are: what a takedown reads and writes besides the shards that it touches. The folder, which is
kept if it is named, takes 80 kB a shard.
"""

import argparse
import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np

from voxbeam.models.phones import load_phone_set
from voxbeam.pipeline.job import CODE_VERSION
from voxbeam.pipeline.steps.release_writer import ReleaseHeader, commit, write_part
from voxbeam.pipeline.steps.shards import PackedSample, make_sample, write_shards
from voxbeam.pipeline.takedown.find import find_person
from voxbeam.pipeline.takedown.purge import purge
from voxbeam.pipeline.takedown.take_down import take_down
from voxbeam.pipeline.verify_header import count_rows
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.takedown import check_releases, check_statement
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.fingerprint import fingerprint
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.manifest import RecordingRow, ShardRow, UnitRow
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.schemas.sample_keys import sample_key
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store

SAMPLES, FRAMES, MS = 4, 150, 2000
T = TypeVar("T")


def make_corpus(store: Store, shards: int) -> Release:
    """A release of as many shards, with two recordings each."""
    rng, config = np.random.default_rng(0), CorpusConfig()
    files: list[ReleaseFile] = []
    rows: list[ShardRow] = []
    recordings: list[RecordingRow] = []
    for number in range(shards):
        samples = []
        for half in range(2):
            name = f"r{2 * number + half:07d}"
            person = "anna" if half == 0 and number % (shards // 3) == 0 else f"p{name}"
            recordings.append(_recording(name, person))
            for start in range(0, SAMPLES * MS, MS):
                samples.append(_sample(name, person, start, rng))
        ((shard, packed),) = write_shards(store, "train", number, samples, 1 << 30)
        rows.append(shard)
        files.append(ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples))
        files.append(write_part(store, "samples", shard.shard.rsplit("/", 1)[-1].removesuffix(".tar"), list(packed)))
    voices = [
        VoiceRow(
            voice=f"{one.recording}_v1", recording=one.recording, speaker=str(one.speaker), name=one.speaker, speech_ms=8000,
            embedding=_unit(rng.normal(size=192)),
        )
        for one in recordings
    ]  # fmt: skip
    people: dict[str, list[str]] = {}
    for voice in voices:
        people.setdefault(voice.speaker, []).append(voice.voice)
    identities = [
        IdentityRow(
            identity=f"i{name}", name=name, split="train", split_key=name, speech_ms=8000 * len(own), recordings=len(own),
            voices=own, confidences=[0.9] * len(own), similar=[], label_conflict=False, former=[],
        )
        for name, own in people.items()
    ]  # fmt: skip
    for start in range(0, len(recordings), 2000):
        files.append(write_part(store, "recordings", f"done-{start // 2000:06d}", list(recordings[start : start + 2000])))
        files.append(write_part(store, "voices", f"part-{start // 2000:06d}", list(voices[start : start + 2000])))
    files += [write_part(store, "identities", "part-000000", list(identities)), write_part(store, "shards", "shards", list(rows))]
    models = {"identify": "made up"}
    header = ReleaseHeader(
        number=1, parent=None, code_version=CODE_VERSION, fingerprint=fingerprint(config, models, CODE_VERSION),
        config=config.model_dump(mode="json"), models=models,
    )  # fmt: skip
    empty = Release(**vars(header), counts={}, files=tuple(files))
    return commit(store, header, files, dict(count_rows(store, empty)), load_phone_set("en-us").content)


def _recording(name: str, speaker: str) -> RecordingRow:
    ms = SAMPLES * MS
    return RecordingRow(
        recording=name, uri=f"/audio/{name}.flac", speaker=speaker, status="done", duration_ms=ms, accepted_ms=ms, bytes=1,
        sha256=hashlib.sha256(name.encode()).hexdigest(), format="FLAC", sample_rate=16_000, channels=1, frames=16 * ms,
        decoder="libsndfile", samples=SAMPLES, speakers=1, units=[f"{hashlib.sha256(name.encode()).hexdigest()[:32]}-{'0' * 16}"],
    )  # fmt: skip


def _sample(name: str, speaker: str, start: int, rng: np.random.Generator) -> PackedSample:
    row = UnitRow(
        key=sample_key(name, start, start + MS), recording=name, unit="u", local_speaker="v1", start_ms=start, end_ms=start + MS,
        duration_ms=MS, text=f"these are words {rng.integers(1 << 40)} that were made up", speech_ratio=0.9, phones="a | b",
        phone_ids=[2, 1, 3], frames=FRAMES, codes=rng.integers(0, 1024, (8, FRAMES)).astype(np.int16).tobytes(), reasons=[],
    )  # fmt: skip
    return make_sample(
        row,
        speaker=speaker,
        identity=f"i{speaker}",
        identity_confidence=0.9,
        split="train",
        license="CC0-1.0",
        consent_basis=None,
    )


def _unit(vector: np.ndarray) -> bytes:
    return (vector / np.linalg.norm(vector)).astype(np.float16).tobytes()


def timed(what: str, function: Callable[[], T]) -> T:
    wall, processor = time.perf_counter(), time.process_time()
    result = function()
    seconds = {"wall_s": round(time.perf_counter() - wall, 1), "processor_s": round(time.process_time() - processor, 1)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"what": what, **seconds, "peak_mb": peak}), flush=True)
    return result


def measure(folder: Path, shards: int, corpus: str | None) -> None:
    store = Store(corpus or str(folder / "corpus"))
    release = latest_release(store) or timed("make up the corpus", lambda: make_corpus(store, shards))
    ledger = Ledger(str(folder / "ledger"), KeyRing(folder / "keys"))
    found = timed("find", lambda: find_person(store, release, speakers=["anna"]))
    done = timed("take down", lambda: take_down(store, found, ledger, grace=timedelta(0)))
    total = len(release.files_of_kind("shard"))
    print(f"{len(found.recordings)} recordings, {done.shards_rewritten} of {total} shards written again")
    statement = check_statement(done.statement, done.public_key)
    timed("check the statement and both releases", lambda: check_releases(statement, store, store))
    purged = timed("purge, and scan what stays", lambda: purge(store, ledger.clock(), trusted=ledger.operator_keys()))
    print(f"{len(purged.paths)} objects deleted, {purged.scanned} scanned, {len(purged.findings)} findings")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--corpus", metavar="URI")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        measure(arguments.folder, arguments.shards, arguments.corpus)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            measure(Path(temporary), arguments.shards, arguments.corpus)
