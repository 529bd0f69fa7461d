"""Plain tars and local shards that are damaged, replaced or hostile: an error that names the place, never other data."""

import io
import json
import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from voxbeam.schemas.errors import StorageError
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index import open_index
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Stream, StreamConfig

from tests.pipeline.factories import small_release

STREAM = StreamConfig(sampler=SamplerConfig(batch_frames=400, block_samples=1, window_blocks=2), rank_frames=300)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))


def npy(codes: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.save(sink, codes)
    return sink.getvalue()


def tree(**changed: object) -> bytes:
    fields = {"speaker": "s", "text": "t", "start_ms": 0, "phone_ids": [1, 1], "words": None} | changed
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


CODES = npy(np.ones((8, 200), np.int16))


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def pairs(count: int, codes: bytes = CODES) -> list[tuple[str, bytes]]:
    return [pair for n in range(count) for pair in ((f"k{n}.codes.npy", codes), (f"k{n}.json", tree()))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "phones.json").write_text('{"phones": ["<pad>", "a", "b"]}')
    return tmp_path / "tars"


def test_a_replaced_tar_is_indexed_anew(folder: Path) -> None:
    """Same name, same size: new phones go with new codes."""
    write_tar(folder / "x.tar", [("k.codes.npy", CODES), ("k.json", tree(phone_ids=[1, 1]))])
    first = open_index(str(folder))
    size = (folder / "x.tar").stat().st_size
    write_tar(folder / "new", [("k.codes.npy", CODES), ("k.json", tree(phone_ids=[2, 2]))])
    (folder / "new").replace(folder / "x.tar")
    assert (folder / "x.tar").stat().st_size == size
    second = open_index(str(folder))
    assert first.content_hash != second.content_hash
    assert first.ragged("phones", 0).tolist() == [1, 1] and second.ragged("phones", 0).tolist() == [2, 2]


def test_a_tar_replaced_while_it_is_streamed_is_an_error(folder: Path) -> None:
    write_tar(folder / "x.tar", pairs(2))
    stream = Stream(str(folder), config=STREAM)
    write_tar(folder / "x.tar", pairs(2, npy(np.full((8, 200), 7, np.int16))))
    with pytest.raises(StorageError, match=r"x\.tar at byte .*damaged or was replaced"):
        list(stream.epoch_steps())


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.97])
def test_a_shard_that_becomes_shorter_is_an_error_and_no_signal(tmp_path: Path, cut: float) -> None:
    store, _ = small_release(tmp_path)
    shard = tmp_path / next(path for path, _ in store.walk("shards/train/"))
    stream = Stream(str(tmp_path), config=STREAM)
    stream.reader.read(np.arange(1))  # the file is open
    os.truncate(shard, int(stream.index.arrays["offset"].max() * cut))
    with pytest.raises(StorageError, match=r"at byte .*voxbeam verify"):
        list(stream.epoch_steps())


def test_one_flipped_bit_in_a_local_shard_is_named(tmp_path: Path) -> None:
    store, _ = small_release(tmp_path)
    shard = tmp_path / next(path for path, _ in store.walk("shards/train/"))
    stream = Stream(str(tmp_path), config=STREAM)
    content = bytearray(shard.read_bytes())
    content[int(stream.index.arrays["offset"][1]) + 300] ^= 1
    shard.write_bytes(content)
    with pytest.raises(StorageError, match=stream.index.key(1)):
        list(stream.epoch_steps())


@pytest.mark.parametrize("kind", ["samples", "phones"])
def test_manifests_are_compared_with_the_release(tmp_path: Path, kind: str) -> None:
    _, release = small_release(tmp_path)
    path = tmp_path / release.files_of_kind(kind)[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"not the file of the release.*voxbeam verify"):
        open_index(str(tmp_path))


def test_a_damaged_header_in_the_middle_is_named(folder: Path) -> None:
    write_tar(folder / "x.tar", pairs(4))
    content = bytearray((folder / "x.tar").read_bytes())
    place = content.index(b"k2.codes.npy")
    for damage in (lambda b: b.__setitem__(place + 3, 0x41), lambda b: b.__setitem__(slice(place, place + 512), bytes(512))):
        broken = bytearray(content)
        damage(broken)
        (folder / "x.tar").write_bytes(broken)
        with pytest.raises(StorageError, match=rf"x\.tar: .*header at byte {place}.*recreate the tar"):
            open_index(str(folder))


@pytest.mark.parametrize("end", [1024, 2048, 4096, 5 * 512 + 100])
def test_a_cut_tar_is_an_error(folder: Path, end: int) -> None:
    write_tar(folder / "x.tar", pairs(4))
    os.truncate(folder / "x.tar", end)
    with pytest.raises(StorageError, match=r"x\.tar: .*(without an end mark|more than the file has)"):
        open_index(str(folder))


def test_joined_tars_are_an_error(folder: Path) -> None:
    write_tar(folder / "x.tar", pairs(1))
    (folder / "x.tar").write_bytes((folder / "x.tar").read_bytes() * 2)
    with pytest.raises(StorageError, match="tars were joined"):
        open_index(str(folder))


SAMPLES = {
    "code too large": (npy(np.full((8, 3), 1024, np.int16)), tree(), "has the code 1024"),
    "negative code": (npy(np.full((8, 3), -1, np.int16)), tree(), "has the code -1"),
    "other type": (npy(np.ones((8, 3), np.int32)), tree(), "int32.*not int16"),
    "seven codebooks": (npy(np.ones((7, 3), np.int16)), tree(), r"not \(8, frames\)"),
    "no frames": (npy(np.ones((8, 0), np.int16)), tree(), r"not \(8, frames\)"),
    "a huge shape": (CODES.replace(b"(8, 200), ", b"(8, 2**31)"), tree(), "npy header cannot be read|not int16"),
    "more frames than bytes": (CODES.replace(b"(8, 200)", b"(8, 900)"), tree(), "needs 14400"),
    "a pickle": (npy(np.array([{}], object)), tree(), "npy header cannot be read|not int16"),
    "no npy": (b"", tree(), "npy header cannot be read"),
    "phone too large": (CODES, tree(phone_ids=[3]), "numbers from 0 to 2"),
    "negative phone": (CODES, tree(phone_ids=[-1]), "numbers from 0 to 2"),
    "phone is text": (CODES, tree(phone_ids=["a"]), "numbers from 0 to 2"),
    "phone is true": (CODES, tree(phone_ids=[True]), "numbers from 0 to 2"),
    "no phones": (CODES, tree(phone_ids=[]), "no phone_ids"),
    "missing phones": (CODES, tree(phone_ids=...), "no phone_ids"),
    "speaker is a list": (CODES, tree(speaker=["s"]), "speaker is not text"),
    "half a character": (CODES, tree(text="\ud800"), "surrogates"),
    "time is text": (CODES, tree(start_ms="0"), "start_ms"),
    "time is huge": (CODES, tree(start_ms=1 << 70), "start_ms"),
    "word without time": (CODES, tree(words=[{"text": "t"}]), "words"),
    "deep JSON": (CODES, b"[" * 100_000, "nested too deeply"),
    "no JSON": (CODES, b"{", "Expecting"),
    "a list": (CODES, b"[]", "not a JSON object"),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_a_sample_that_cannot_be_used_is_named(folder: Path, case: str) -> None:
    codes, content, message = SAMPLES[case]
    write_tar(folder / "x.tar", [*pairs(1), ("bad.codes.npy", codes), ("bad.json", content)])
    with pytest.raises(StorageError, match=rf"x\.tar: bad\.[a-z.]+ at byte \d+.*({message}).*recreate the tar"):
        open_index(str(folder))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])
def test_members_other_than_regular_files_are_refused(folder: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("bad.codes.npy")
    info.type, info.linkname = kind, "/etc/passwd"
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = kind
    if kind == tarfile.GNUTYPE_SPARSE:  # 40 GB in no bytes
        header[386:398], header[398:410] = b"%011o\0" % 0, b"%011o\0" % 0
        header[483:495] = b"%011o\0" % (8**11 - 1)
    header[148:156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:512]))
    (folder / "x.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(StorageError, match=r"bad\.codes\.npy at byte \d+ is a .*not a regular file"):
        open_index(str(folder))


def test_a_sparse_member_of_a_pax_tar_is_refused(folder: Path) -> None:
    with tarfile.open(folder / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("bad.codes.npy")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(40 << 30)}
        tar.addfile(info)
    with pytest.raises(StorageError, match="is a sparse file"):
        open_index(str(folder))


def test_a_key_that_is_there_twice_is_refused(folder: Path) -> None:
    write_tar(folder / "x.tar", pairs(1))
    write_tar(folder / "y.tar", pairs(1))
    with pytest.raises(StorageError, match=r"y\.tar: k0\.codes\.npy is there twice"):
        open_index(str(folder))


def test_tars_without_samples_are_an_error(folder: Path) -> None:
    write_tar(folder / "x.tar", [("README.txt", b"hello")])
    with pytest.raises(StorageError, match="no sample in the 1 tars"):
        open_index(str(folder))


@pytest.mark.parametrize("phones", [b"[", b"[]", b'{"phones": 7}', b'{"phones": ["a", "a"]}', b'{"phones": [1]}', b"[" * 100_000])
def test_a_wrong_phone_set_is_named(folder: Path, phones: bytes) -> None:
    write_tar(folder / "x.tar", pairs(1))
    (folder / "phones.json").write_bytes(phones)
    with pytest.raises(StorageError, match=r"phones\.json is not a phone set"):
        open_index(str(folder))


def test_names_of_every_tar_format(folder: Path) -> None:
    """Long and foreign names, folders, and the neighbors that macOS adds."""
    key = "ordner/" + "ü" * 120
    for number, form in enumerate((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        with tarfile.open(folder / f"{number}.tar", "w", format=form) as tar:
            entry = tarfile.TarInfo("./ordner")
            entry.type = tarfile.DIRTYPE
            tar.addfile(entry)
            for name, content in (("codes.npy", CODES), ("json", tree()), ("flac", b"x" * 700)):
                for prefix in ("", "._"):
                    info = tarfile.TarInfo(f"./ordner/{prefix}{number}{'ü' * 120}.{name}")
                    info.size, info.mtime = len(content), 1.5
                    tar.addfile(info, io.BytesIO(content))
    index = open_index(str(folder))
    assert [index.key(n) for n in range(2)] == [f"ordner/{n}" + key[7:] for n in range(2)]
    assert index.arrays["crc32"].tolist() == [zlib.crc32(CODES)] * 2
    assert len(list(Stream(str(folder), config=STREAM).epoch_steps())) == 1
    assert Store(str(folder)).get_range("0.tar", int(index.arrays["offset"][0]), int(index.arrays["bytes"][0])) == CODES
