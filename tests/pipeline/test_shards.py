"""Shards: the same bytes, read by stock webdataset, every member where its row says."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from voxbeam.pipeline.steps.shards import make_sample, write_shards
from voxbeam.schemas.columns import to_table
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.store import Store

from tests.pipeline.factories import member, unit_row

LONG = "x" * 120 + "-0123abcd"


def members(flac: bytes | None = None) -> list:
    return [member(r, start, flac=flac) for r in ("a", LONG) for start in (0, 2500, 9_000_000)]


@pytest.mark.parametrize("flac", [None, b"fLaC" * 300])
def test_same_bytes_twice(flac: bytes | None, tmp_path: Path) -> None:
    one, two = (list(write_shards(Store(str(tmp_path / n)), "train", 3, members(flac), 1 << 30)) for n in "ab")
    assert one == two
    ((shard, rows),) = one
    path = tmp_path / "a" / shard.shard
    assert sha256_of(path) == shard.sha256 == sha256_of(tmp_path / "b" / shard.shard)
    assert path.name == f"train-000003-{shard.sha256[:16]}.tar" and path.stat().st_size == shard.bytes
    assert (shard.samples, shard.first_key, shard.last_key) == (6, rows[0].key, rows[-1].key)
    assert to_table(SampleRow, rows).num_rows == 6
    with tarfile.open(path) as tar:
        assert all((m.isreg(), m.mtime, m.uid, m.gid, m.uname) == (True, 0, 0, 0, "") for m in tar)


@pytest.mark.parametrize("flac", [None, b"fLaC" * 300])
def test_stock_webdataset_reads_every_sample(flac: bytes | None, tmp_path: Path) -> None:
    given = members(flac)
    ((shard, _),) = write_shards(Store(str(tmp_path)), "train", 0, given, 1 << 30)
    read = list(wds.WebDataset(str(tmp_path / shard.shard), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in read] == [m.row.key for m in given]
    for sample, m in zip(read, given, strict=True):
        np.testing.assert_array_equal(sample["codes.npy"], np.load(io.BytesIO(m.codes)))
        assert sample["json"]["text"] == m.row.text and sample["json"]["speaker"] == "s"
        assert sample["json"]["license"] == "CC0-1.0" and "shard" not in sample["json"]
        assert sample.get("flac") == flac


def test_rows_say_where_the_bytes_lie(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    given = members(b"fLaC" * 7)
    ((_, rows),) = write_shards(store, "train", 0, given, 1 << 30)
    for row, m in zip(rows, given, strict=True):
        assert store.get_range(row.shard, row.codes_offset, row.codes_bytes) == m.codes
        assert json.loads(store.get_range(row.shard, row.json_offset, row.json_bytes))["key"] == row.key
        assert row.flac_offset is not None and row.flac_bytes is not None
        assert store.get_range(row.shard, row.flac_offset, row.flac_bytes) == m.flac


def test_shard_is_closed_before_it_grows_too_large(tmp_path: Path) -> None:
    given = [member("a", 10_000 * n, ms=8000) for n in range(40)]
    made = list(write_shards(Store(str(tmp_path)), "train", 0, given, 100_000))
    assert len(made) > 3 and all(shard.bytes <= 100_000 for shard, _ in made)
    assert [row.key for _, rows in made for row in rows] == [m.row.key for m in given]
    (big,) = write_shards(Store(str(tmp_path)), "valid", 0, given[:1], 10)  # a sample larger than a shard has its own
    assert big[0].samples == 1


def test_nothing_makes_no_shard(tmp_path: Path) -> None:
    assert list(write_shards(Store(str(tmp_path)), "train", 0, [], 10)) == []


def test_accepted_segment_without_codes_is_an_error() -> None:
    with pytest.raises(ValueError, match="without codes"):
        make_sample(
            unit_row(codes=None),
            speaker="s",
            identity="i",
            identity_confidence=None,
            split="train",
            license=None,
            consent_basis=None,
        )
