"""Samples per second of `Stream`, compared with webdataset, mosaicml-streaming and litdata: the same tokens, one process.

    python benchmarks/loader.py [--samples N] [--bucket s3://BUCKET/PREFIX]

Needs requirements/benchmarks.txt in a separate environment. Each loader reads its own format, written from the same samples on
local disk, shuffled as its documentation recommends, and returns every sample once: codes [8, T] and phone ids as arrays.
"voxbeam batches" also forms padded batches of tensors, which the others leave to the user.

With a bucket, the formats are uploaded, and every loader reads one epoch of it with empty caches. Credentials and endpoint come
from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL and, for a server without TLS, AWS_ALLOW_HTTP.
"""

import argparse
import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import litdata
import numpy as np
import obstore
import streaming
import webdataset
from obstore.store import S3Store
from rich.console import Console
from rich.table import Table

from voxbeam.pipeline.steps.release_writer import ReleaseHeader, commit, write_part
from voxbeam.pipeline.steps.shards import PackedSample, write_shards
from voxbeam.schemas.manifest import SampleRow, ShardRow
from voxbeam.schemas.release import ReleaseFile
from voxbeam.schemas.sample_keys import sample_key
from voxbeam.storage.store import Store
from voxbeam.trainer.data.sampler import LoaderPosition
from voxbeam.trainer.data.stream import Stream

PHONES = ["<pad>", "|", *"abcdefghij"]


def make_members(count: int) -> Iterator[PackedSample]:
    """Random samples of 2 to 30 s, in recordings of 50."""
    rng = np.random.default_rng(0)
    for number in range(count):
        frames = int(rng.integers(150, 2250))
        ms = round(frames * 1000 / 75)
        recording, start = f"recording_{number // 50:06d}", 40_000 * (number % 50)
        sink = io.BytesIO()
        np.save(sink, rng.integers(0, 1024, (8, frames), dtype=np.int16))
        text = "words " * (frames // 30)
        row = SampleRow(
            key=sample_key(recording, start, start + ms), recording=recording, unit="u", speaker=f"speaker_{number % 300}",
            start_ms=start, end_ms=start + ms, duration_ms=ms, text=text, speech_ratio=1.0, split="train",
            phones="a b",
            phone_ids=rng.integers(2, 12, frames // 6).tolist(), frames=frames, shard="", codes_offset=0, codes_bytes=0,
            codes_crc32=0, json_offset=0, json_bytes=0,
        )  # fmt: skip
        yield PackedSample(row=row, codes=sink.getvalue(), flac=None)


def make_release(folder: Path, count: int, shard_bytes: int = 64 << 20) -> None:
    store = Store(str(folder))
    shards: list[ShardRow] = []
    files: list[ReleaseFile] = []
    for shard, rows in write_shards(store, "train", 0, make_members(count), shard_bytes):
        shards.append(shard)
        files.append(ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples))
        files.append(write_part(store, "samples", Path(shard.shard).stem, list(rows)))
    files += [write_part(store, "shards", "shards", list(shards)), write_part(store, "recordings", "none", [])]
    draft = ReleaseHeader(number=1, parent=None, code_version=1, fingerprint="benchmark", config={}, models={})
    commit(store, draft, files, {"samples": count}, json.dumps({"phones": PHONES}).encode())


def as_dict(member: PackedSample) -> dict[str, Any]:
    codes = np.load(io.BytesIO(member.codes))
    return {"codes": codes, "phones": np.array(member.row.phone_ids, np.int16), "key": member.row.key}


def make_mosaic(folder: Path, count: int) -> None:
    columns = {"codes": "ndarray:int16", "phones": "ndarray:int16", "key": "str"}
    with streaming.MDSWriter(out=str(folder), columns=columns) as writer:
        for member in make_members(count):
            writer.write(as_dict(member))


def make_litdata(folder: Path, count: int) -> None:
    writer = litdata.streaming.writer.BinaryWriter(str(folder), chunk_bytes="64MB")
    for number, member in enumerate(make_members(count)):
        writer.add_item(number, as_dict(member))
    writer.done()
    writer.merge(1)


def read_our_batches(folder: Path) -> Iterator[int]:
    for batches, _ in Stream(str(folder)).epoch_steps(1):
        yield from (len(batch.keys) for batch in batches)


def read_our_samples(folder: Path) -> Iterator[int]:
    stream = Stream(str(folder))
    for window in range(stream.sampler.windows):
        for batch in stream.sampler.batches(1, window):
            yield len(stream.read(batch.samples))


def read_webdataset(folder: Path) -> Iterator[int]:
    tars = [str(path) for path in sorted(folder.rglob("*.tar"))]
    for sample in webdataset.WebDataset(tars, shardshuffle=100).shuffle(1000).decode():
        np.array(sample["json"]["phone_ids"], np.int16)
        yield int(sample["codes.npy"].shape[0] == 8)


def read_mosaic(folder: Path) -> Iterator[int]:
    for sample in streaming.StreamingDataset(local=str(folder), shuffle=True, batch_size=16):
        yield int(sample["codes"].shape[0] == 8)


def read_litdata(folder: Path) -> Iterator[int]:
    for sample in litdata.StreamingDataset(str(folder), shuffle=True):
        yield int(sample["codes"].shape[0] == 8)


def timed(read: Callable[[Path], Iterator[int]], folder: Path, count: int) -> float:
    """Seconds of the second epoch: files are then in the page cache for everyone, and indexes are made."""
    for _ in range(2):
        began = time.perf_counter()
        seen = sum(read(folder))
        seconds = time.perf_counter() - began
        assert seen == count, f"{read.__name__}: {seen} of {count} samples"
    return seconds


def upload(root: Path, bucket: str) -> None:
    """Puts what the peers and we read."""
    store = Store(bucket)
    for part in ("release", "mosaic", "litdata"):
        for file in sorted(path for path in Path(root, part).rglob("*") if path.is_file()):
            store.put_file(str(file.relative_to(root)), file)


def read_bucket_webdataset(bucket: str, cache: Path) -> Iterator[int]:
    store = Store(f"{bucket}/release")
    paths = [path for path, _ in store.walk("shards/")]
    urls = obstore.sign(cast(S3Store, store.object_store), "GET", paths, expires_in=timedelta(hours=1))
    for sample in webdataset.WebDataset(urls, shardshuffle=100).shuffle(1000).decode():
        np.array(sample["json"]["phone_ids"], np.int16)
        yield int(sample["codes.npy"].shape[0] == 8)


def read_bucket_mosaic(bucket: str, cache: Path) -> Iterator[int]:
    os.environ["S3_ENDPOINT_URL"] = os.environ.get("AWS_ENDPOINT_URL", "")
    for sample in streaming.StreamingDataset(remote=f"{bucket}/mosaic", local=str(cache), shuffle=True, batch_size=16):
        yield int(sample["codes"].shape[0] == 8)


def read_bucket_litdata(bucket: str, cache: Path) -> Iterator[int]:
    litdata.streaming.downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # it has no setting for a server without TLS
    for sample in litdata.StreamingDataset(f"{bucket}/litdata", cache_dir=str(cache), shuffle=True):
        yield int(sample["codes"].shape[0] == 8)


def read_bucket_ours(bucket: str, cache: Path) -> Iterator[int]:
    os.environ["VOXBEAM_CACHE"] = str(cache)
    for batches, _ in Stream(f"{bucket}/release").epoch_steps(1):
        yield from (len(batch.keys) for batch in batches)


def timed_bucket(read: Callable[[str, Path], Iterator[int]], bucket: str, count: int) -> float:
    """Seconds of an epoch that begins with nothing on this machine."""
    with tempfile.TemporaryDirectory() as cache:
        began = time.perf_counter()
        seen = sum(read(bucket, Path(cache)))
        seconds = time.perf_counter() - began
    assert seen == count, f"{read.__name__}: {seen} of {count} samples"
    return seconds


def as_table(title: str, rates: dict[str, float], ours: str) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for column in ("loader", "samples/s", f"{ours} is faster by"):
        table.add_column(column, justify="left" if column == "loader" else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:,.0f}", f"{rates[ours] / rate:.1f}×")
    return table


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=8_000, help="how many (default: %(default)s, about 150 MB)")
    arguments.add_argument("--bucket", help="also from here; it must be empty")
    given = arguments.parse_args()
    count = given.samples
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as root:
        os.environ["VOXBEAM_CACHE"] = str(Path(root, "cache"))
        arms = {
            "voxbeam": (make_release, read_our_samples, Path(root, "release")),
            "voxbeam batches": (None, read_our_batches, Path(root, "release")),
            "webdataset": (None, read_webdataset, Path(root, "release")),
            "mosaicml-streaming": (make_mosaic, read_mosaic, Path(root, "mosaic")),
            "litdata": (make_litdata, read_litdata, Path(root, "litdata")),
        }
        rates: dict[str, float] = {}
        for name, (make, read, folder) in arms.items():
            if make is not None:
                make(folder, count)
            rates[name] = count / timed(read, folder, count)
        if given.bucket:
            upload(Path(root), given.bucket)
            from_bucket = {
                "voxbeam batches": read_bucket_ours,
                "webdataset": read_bucket_webdataset,
                "mosaicml-streaming": read_bucket_mosaic,
                "litdata": read_bucket_litdata,
            }
            bucket_rates = {name: count / timed_bucket(read, given.bucket, count) for name, read in from_bucket.items()}
        os.environ["VOXBEAM_CACHE"] = str(Path(root, "cache"))
        stream = Stream(str(Path(root, "release")))
        batches = [b for w in range(stream.sampler.windows) for b in stream.sampler.batches(0, w)]
        lengths = stream.sampler.lengths_N
        padded = sum(len(batch.samples) * int(batch.frames.max()) for batch in batches)
        began = time.perf_counter()
        reopened = Stream(str(Path(root, "release")))
        late = LoaderPosition(0, reopened.sampler.windows - 1, int(len(batches) * 0.9 / reopened.sampler.windows))
        next(reopened.steps(int(late)))
        restored_s = time.perf_counter() - began
    console = Console()
    console.print(as_table(f"{count} samples, one process", rates, "voxbeam"))
    if given.bucket:
        console.print(as_table(f"{count} samples from {given.bucket}, one process", bucket_rates, "voxbeam batches"))
    console.print(
        f"voxbeam: padding {1 - int(lengths.sum()) / padded:.1%}, first step at 90 % of an epoch after {restored_s:.3f} s"
    )


if __name__ == "__main__":
    main()
