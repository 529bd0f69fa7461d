"""A release, plain tars or a bucket as batches: the same for any number of ranks, threads and restarts."""

import io
import json
import shutil
import tarfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.models.batch import TokenizedUtterance
from voxbeam.schemas.errors import NotInCorpusError, StorageError
from voxbeam.storage.store import Store, _open
from voxbeam.trainer.data.index import open_index
from voxbeam.trainer.data.sampler import BatchSampler, SamplerConfig
from voxbeam.trainer.data.stream import Step, Stream, StreamConfig, crop, prefetch_map

from tests.pipeline.factories import PHONES, member, release_of, small_release
from tests.servers.faulty_proxy import Faults, FaultyProxy
from tests.servers.s3 import s3_server


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))


def keys(steps: Iterable[Step]) -> list[str]:
    return [key for batches, _ in steps for batch in batches if not batch.is_dummy for key in batch.keys]


STREAM = StreamConfig(sampler=SamplerConfig(batch_frames=400, block_samples=1, window_blocks=2), rank_frames=300)


def test_a_release_as_batches(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    stream = Stream(str(tmp_path), config=STREAM)
    steps = list(stream.epoch_steps(0))
    assert sorted(keys(steps)) == sorted(stream.index.key(i) for i in range(3))
    for batches, _ in steps:
        for batch in batches:
            for row, key in enumerate(batch.keys):
                shard = next(path for path, _ in store.walk("shards/train/"))
                with tarfile.open(tmp_path / shard) as tar:
                    member = tar.extractfile(f"{key}.codes.npy")
                    assert member is not None
                    codes_KT = np.load(io.BytesIO(member.read()))
                frames = int(batch.frame_lengths_B[row])
                assert torch.equal(batch.codes_BTK[row, :frames].T, torch.from_numpy(codes_KT.astype(np.int64)))
                assert batch.phones_BL[row, : batch.phone_lengths_B[row]].tolist() == [3, 4]


def test_the_codes_of_a_further_codec(tmp_path: Path) -> None:
    small_release(tmp_path, codecs=("one", "two"))
    first, two = Stream(str(tmp_path), config=STREAM), Stream(str(tmp_path), config=STREAM, codec="two")
    for mine, other in zip(first.read(np.arange(3)), two.read(np.arange(3)), strict=True):
        assert mine.key == other.key
        np.testing.assert_array_equal(other.codes_KT, (mine.codes_KT + 2) % 1024)
    assert first.facts["samples"] != two.facts["samples"] and two.facts["codec"] == "two" and "codec" not in first.facts
    only = replace(STREAM, data_filter="start_ms > 0")
    assert len(Stream(str(tmp_path), config=only, codec="one").index) == 2
    with pytest.raises(NotInCorpusError, match="no further codec 'three'"):
        Stream(str(tmp_path), config=STREAM, codec="three")


@pytest.mark.parametrize(("world", "then"), [(1, 2), (2, 3), (3, 1)])
def test_ranks_and_threads_may_change_in_mid_epoch(tmp_path: Path, world: int, then: int) -> None:
    """Sixty samples of 2 to 5 s, some of them behind prompts: all once, whoever reads them."""
    starts = np.cumsum([0, *(2000 + 80 * (n * 7 % 40) for n in range(60))]).tolist()
    members = [member("r", a, ms=b - a - 1, speaker=f"s{a % 3}") for a, b in pairwise(starts)]
    release_of(tmp_path, {"train": members})
    sampler = SamplerConfig(batch_frames=1500, block_samples=4, window_blocks=5, prompt_fraction=0.3)

    def run(ranks: int, threads: int, start: int, count: int) -> tuple[list[str], int]:
        found: list[str] = []
        state = start
        for rank in range(ranks):
            stream_config = StreamConfig(sampler=sampler, rank_frames=700, threads=threads)
            steps = list(islice(Stream(str(tmp_path), config=stream_config, rank=rank, world=ranks).steps(start), count))
            found += keys(steps)
            state = steps[-1][1]
        return found, state

    whole = len(list(Stream(str(tmp_path), config=StreamConfig(sampler=sampler)).epoch_steps(0)))
    assert whole > 10
    first, state = run(world, 2, 0, whole // 2)
    rest, _ = run(then, 5, state, whole - whole // 2)
    assert Counter(first + rest) == Counter({one.row.key: 1 for one in members})


def test_damaged_codes_are_named(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    shard = tmp_path / next(path for path, _ in store.walk("shards/train/"))
    content = bytearray(shard.read_bytes())
    stream = Stream(str(tmp_path), config=STREAM)
    at = int(stream.index.arrays["offset"][1])
    content[at + 200 : at + 240] = b"\xff" * 40
    shard.write_bytes(bytes(content))
    with pytest.raises(StorageError, match=r"r_00003000_00005000.*voxbeam verify"):
        list(stream.epoch_steps(0))


def test_plain_tars_give_what_the_manifest_gives(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path / "corpus")
    tars = Store(str(tmp_path / "tars"))
    for path, _ in store.walk("shards/train/"):
        tars.put_if_absent(path.rsplit("/", 1)[-1], store.get(path))
    tars.put_if_absent("phones.json", PHONES)
    ours, theirs = open_index(store.root), open_index(tars.root)
    assert len(ours) == len(theirs) == 3 and ours.speakers == theirs.speakers and theirs.phones == ours.phones
    for name, array in ours.arrays.items():
        assert np.array_equal(array, theirs.arrays[name]), name
    with pytest.raises(StorageError, match="no split"):
        open_index(tars.root, "valid")


def test_nothing_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="voxbeam build"):
        open_index(str(tmp_path / "empty"))
    small_release(tmp_path / "corpus")
    with pytest.raises(ValueError, match="empty"):
        Stream(str(tmp_path / "corpus"), split="test")


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(300, 600), st.integers(0, 1000))
def test_a_crop_keeps_phones_and_sound_together(words: int, length: int, seed: int) -> None:
    """Word w is the phone 10 + w, and sounds as code w for 30 frames after a gap of 10."""
    phones = np.concatenate([[1, 10 + w] for w in range(words)])[1:].astype(np.int64)
    times = np.array([[40 * w + 10, 40 * w + 40] for w in range(words)], np.int32)
    codes = np.repeat(np.arange(words, dtype=np.int16), 40)[None].repeat(8, axis=0)
    whole = TokenizedUtterance(key="u", phones_L=phones, codes_KT=codes)
    kept = crop(whole, times, 1, length, seed)
    kept_phones, kept_codes = kept.phones_L, kept.codes_KT
    assert kept_codes.shape[1] <= length
    if words * 40 <= length:
        assert len(kept_phones) == len(phones)
    else:
        assert kept_codes.shape[1] > length - 80
        assert sorted(set(kept_codes[0].tolist())) == [phone - 10 for phone in kept_phones if phone != 1]
        assert (kept_phones[1::2] == 1).all()


@pytest.mark.parametrize(("words", "kept"), [(1, 2), (2, 0)])
def test_words_that_do_not_match_their_phones_are_left_out(tmp_path: Path, words: int, kept: int) -> None:
    """The phones of a made sample are one word."""
    told = [{"text": "w", "start_ms": 100 * n, "end_ms": 100 * n + 50, "probability": 1.0} for n in range(words)]
    release_of(tmp_path, {"train": [member(words=told)]})
    assert len(open_index(str(tmp_path)).ragged("word_frames", 0)) == kept


def test_crops_are_planned_so_that_padding_stays_small() -> None:
    """Half of the samples can be cut: batches are formed of the lengths that will be drawn, within the budget."""
    rng = np.random.default_rng(0)
    lengths_N = rng.integers(150, 2250, 50_000).astype(np.int32)
    sampler = BatchSampler(lengths_N, SamplerConfig(), rng.random(50_000) < 0.5, (750, 1500))
    real = padded = 0
    for batch in sampler.batches(2, 1):
        drawn = batch.frames
        assert np.array_equal(drawn, sampler.own_frames(2, batch.samples))
        assert len(drawn) * int(drawn.max()) <= SamplerConfig().batch_frames
        real, padded = real + int(drawn.sum()), padded + len(drawn) * int(drawn.max())
    assert 1 - real / padded < 0.02
    every = np.arange(50_000)
    first, other = sampler.own_frames(2, every), sampler.own_frames(3, every)
    assert np.array_equal(first, sampler.own_frames(2, every)) and not np.array_equal(first, other)
    assert first.max() <= lengths_N.max() and first[lengths_N <= 1500].tolist() == lengths_N[lengths_N <= 1500].tolist()


def test_ahead_keeps_order_and_passes_errors_on() -> None:
    def slow(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        if item == 30:
            raise StorageError("thirty")
        return item

    found = prefetch_map(slow, range(100), threads=4, depth=6)
    assert list(islice(found, 30)) == list(range(30))
    with pytest.raises(StorageError, match="thirty"):
        next(found)


@pytest.mark.s3
def test_a_bucket_gives_what_a_folder_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _ = small_release(tmp_path / "corpus")
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        bucket = Store("s3://corpora/corpus")
        for path, _ in store.walk():
            bucket.put_if_absent(path, store.get(path))
        ours = list(Stream(store.root, config=STREAM).epoch_steps(1))
        theirs = list(Stream(bucket.root, config=STREAM).epoch_steps(1))
    _open.cache_clear()
    assert [state for _, state in ours] == [state for _, state in theirs]
    for (one, _), (other, _) in zip(ours, theirs, strict=True):
        assert all(torch.equal(a.codes_BTK, b.codes_BTK) for a, b in zip(one, other, strict=True))


@pytest.mark.s3
def test_a_bucket_is_fetched_in_blocks_once_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a proxy that counts: one request for a block, none for the second epoch; bytes damaged on the way are noticed."""
    members = [member("r", start, speaker="s") for start in range(0, 60_000, 3000)]
    folder = release_of(tmp_path / "corpus", {"train": members})
    blocks = StreamConfig(sampler=SamplerConfig(batch_frames=400, block_samples=5, window_blocks=2), rank_frames=400)
    with s3_server(tmp_path / "s3") as server, FaultyProxy(server.url, Faults()) as proxy:
        for name, value in server.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        bucket = Store("s3://corpora/corpus")
        for path, _ in folder.walk():
            bucket.put_if_absent(path, folder.get(path))
        stream = Stream(bucket.root, config=blocks)
        before = proxy.counts["pass"]
        first = keys(stream.epoch_steps(0))
        assert sorted(first) == sorted(member.row.key for member in members)
        assert proxy.counts["pass"] - before == 4  # 20 samples in blocks of 5
        list(stream.epoch_steps(1))
        list(Stream(bucket.root, config=blocks, rank=1, world=2).epoch_steps(2))
        assert proxy.counts["pass"] - before <= 4 + 6  # what another process opens anew: releases, phones, tombstones
        shutil.rmtree(tmp_path / "cache" / "stream" / "blocks")
        shard = server.folder / "corpora" / "corpus" / next(path for path, _ in folder.walk("shards/"))
        content = bytearray(shard.read_bytes())
        content[int(stream.index.arrays["offset"][7]) + 200] ^= 1  # a code that is another code
        shard.write_bytes(bytes(content))
        with pytest.raises(StorageError, match=f"{members[7].row.key}.*voxbeam verify"):
            list(Stream(bucket.root, config=blocks).epoch_steps(0))
    _open.cache_clear()


@pytest.mark.s3
def test_the_cache_of_a_bucket_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = [member("r", start, speaker="s") for start in range(0, 90_000, 3000)]
    folder = release_of(tmp_path / "corpus", {"train": members})
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        bucket = Store("s3://corpora/corpus")
        for path, _ in folder.walk():
            bucket.put_if_absent(path, folder.get(path))
        sampler = SamplerConfig(batch_frames=400, block_samples=1, window_blocks=3)
        stream = Stream(bucket.root, config=StreamConfig(sampler=sampler, cache_bytes=0, prefetch_steps=1))
        assert len(keys(stream.epoch_steps(0))) == 30
        kept = list((tmp_path / "cache" / "stream" / "blocks").glob("*/*.bin"))
        assert len(kept) <= 4 * 3  # the window before, this one, the next, and what came while they were counted
    _open.cache_clear()


def test_a_state_belongs_to_its_release_and_settings(tmp_path: Path) -> None:
    small_release(tmp_path)
    marks = {
        json.dumps(
            Stream(str(tmp_path), split=split, config=StreamConfig(sampler=SamplerConfig(seed=seed), threads=threads)).facts
        )
        for split, seed, threads in (("train", 0, 1), ("train", 0, 2), ("train", 1, 1), ("valid", 0, 1))
    }
    assert len(marks) == 3
    with pytest.raises(StorageError, match="no release 7; existing releases: 1"):
        Stream(str(tmp_path), release=7)


@pytest.mark.parametrize(("lost", "word"), [("codes.npy", "no k.codes.npy"), ("json", "no k.json"), ("phones", "no phone_ids")])
def test_a_plain_tar_with_half_a_sample_is_an_error(tmp_path: Path, lost: str, word: str) -> None:
    sink = io.BytesIO()
    np.save(sink, np.zeros((8, 3), np.int16))
    tree = {"speaker": "s", "text": "t", "start_ms": 0, "phone_ids": None if lost == "phones" else [2], "words": None}
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in (("codes.npy", sink.getvalue()), ("json", json.dumps(tree).encode())):
            if name != lost:
                info = tarfile.TarInfo(f"k.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    with pytest.raises(StorageError, match=word):
        open_index(str(tmp_path))
