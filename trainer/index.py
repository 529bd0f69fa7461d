"""Index: where every sample of a split lies and how long it is, as flat arrays on local disk, mapped into memory.

Made once from the manifests of a release (or, slower, by reading plain tars through), then opened in no time by every process
of a machine, which share its pages. About 36 bytes a sample, plus its phones (2 bytes each), its text and its key.

Shapes: N samples, in the order in which they are stored.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.releases import latest_release, read_release, release_numbers, sample_columns
from assets.resolve import cache_folder
from assets.storage import StorageError, Store
from schemas.manifest import FRAME_MS
from schemas.release import Release

_COLUMNS = (
    *("key", "speaker", "text", "start_ms", "phone_ids", "words", "frames"),
    *("shard", "codes_offset", "codes_bytes", "codes_crc32"),
)
_VERSION = 3
"""of what an index holds; one that another version left in the cache is not opened"""
_FLAT: dict[str, Any] = {"phones": np.int16, "texts": np.uint8, "keys": np.uint8, "word_frames": np.int32}
"""one value after the other for all samples; `<name>_start` [N + 1] says where a sample's begin"""
_EACH: dict[str, Any] = {
    "frames": np.int32,
    "shard": np.int32,
    "offset": np.int64,
    "bytes": np.int32,
    "crc32": np.uint32,
    "speaker": np.int32,
}


@dataclass(frozen=True)
class Index:
    """Samples of one split."""

    store: Store
    split: str
    release: int | None
    """its number; None for plain tars"""
    shards: tuple[str, ...]
    speakers: tuple[str, ...]
    phones: tuple[str, ...]
    """the phone inventory; an id is a place in it"""
    arrays: dict[str, NDArray[Any]]
    stamp: str
    """a hash of all that it was made from"""

    def __len__(self) -> int:
        return len(self.arrays["frames"])

    def flat(self, name: str, sample: int) -> NDArray[Any]:
        """A sample's phones, text, key or word frames [2 · words]."""
        start = self.arrays[f"{name}_start"]
        return self.arrays[name][start[sample] : start[sample + 1]]

    def cut(self, name: str, samples: NDArray[np.int64]) -> list[NDArray[Any]]:
        """The same of several samples, faster than one by one."""
        flat, starts = self.arrays[name], self.arrays[f"{name}_start"]
        return [flat[start:end] for start, end in zip(starts[samples].tolist(), starts[samples + 1].tolist(), strict=True)]

    def text(self, sample: int) -> str:
        return self.flat("texts", sample).tobytes().decode()

    def key(self, sample: int) -> str:
        return self.flat("keys", sample).tobytes().decode()


def separator_of(phones: Sequence[str]) -> int:
    """The id that stands between words; -1 in an inventory without one."""
    return phones.index("|") if "|" in phones else -1


def open_index(uri: str, split: str = "train", release: int | None = None) -> Index:
    """The index of a release, by default the latest; of plain WebDataset tars where there is none (every byte is then read once).

    Plain tars have no splits: they are all "train". Raises StorageError when nothing is there.
    """
    store = Store(uri)
    chosen = _release(store, release)
    if chosen is not None:
        phones = json.loads(store.get(chosen.of_kind("phones")[0].path))["phones"]
        stamp = hashlib.sha256(f"{_VERSION}{split}".encode() + chosen.to_json()).hexdigest()[:20]
        folder = _made(stamp, lambda: sample_columns(store, chosen, split, _COLUMNS), phones)
        return _opened(folder, store, split, chosen.number, phones)
    tars = [(path, size) for path, size in store.walk() if path.endswith(".tar")]
    if tars and split != "train":
        raise StorageError(f"plain tars have no split {split!r}; put those samples into a folder of their own, and name that")
    if not tars:
        raise StorageError(f"no release and no tar below {store.root}; name what `voxbeam build` made, or a folder of tars")
    stamp = hashlib.sha256(f"{_VERSION}{store.root}{tars}".encode()).hexdigest()[:20]
    phones = json.loads(store.get("phones.json"))["phones"] if store.exists("phones.json") else []
    folder = _made(stamp, lambda: _tar_rows(store, [path for path, _ in tars]), phones)
    return _opened(folder, store, split, None, phones)


def _release(store: Store, number: int | None) -> Release | None:
    if number is None:
        return latest_release(store)
    try:
        return read_release(store, number)
    except FileNotFoundError as error:
        there = ", ".join(map(str, release_numbers(store))) or "none"
        raise StorageError(f"{store.root} has no release {number}; there are: {there}") from error


def _made(stamp: str, rows: Callable[[], Iterator[dict[str, Any]]], phones: Sequence[str]) -> Path:
    """The folder of an index, made where it is not in the cache yet."""
    folder = cache_folder() / "stream" / stamp
    if not (folder / "names.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
            made = Path(aside) / stamp
            made.mkdir()
            _write(rows(), made, separator_of(phones))
            with suppress(OSError):  # another process was faster, with the same content
                made.rename(folder)
    return folder


def _opened(folder: Path, store: Store, split: str, release: int | None, phones: Sequence[str]) -> Index:
    names = json.loads((folder / "names.json").read_text())
    arrays = {file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in folder.glob("*.npy")}
    shards, speakers = tuple(names["shards"]), tuple(names["speakers"])
    return Index(store, split, release, shards, speakers, tuple(phones), arrays, stamp=folder.name)


def _tar_rows(store: Store, paths: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of plain tars: members `<key>.codes.npy` and `<key>.json` of a sample stand together.

    Raises StorageError for a sample that lacks one of them, or its phones.
    """
    for path in paths:
        with store.as_local(path) as local, tarfile.open(local, "r:") as tar:
            waiting: dict[str, dict[str, Any]] = {}
            for member in tar:
                key, _, extension = member.name.partition(".")
                if not member.isreg() or extension not in ("codes.npy", "json"):
                    continue
                row = waiting.setdefault(key, {"key": key, "shard": path, "words": None})
                file = tar.extractfile(member)
                assert file is not None
                row |= _codes_facts(member, file.read()) if extension == "codes.npy" else _told(json.load(file))
                if "frames" in row and "phone_ids" in row:
                    if not row["phone_ids"]:
                        raise StorageError(f"{key}.json in {store.uri(path)} has no phone_ids: phonemize it, or take it out")
                    yield waiting.pop(key)
        for key, row in waiting.items():
            lost = "json" if "frames" in row else "codes.npy"
            raise StorageError(f"{store.uri(path)} holds a part of {key}, but no {key}.{lost}: make the tar anew, or take it out")


def _told(tree: dict[str, Any]) -> dict[str, Any]:
    """What a sample's JSON says, as far as it is asked for."""
    return {name: tree.get(name) for name in ("speaker", "text", "start_ms", "phone_ids", "words")}


def _codes_facts(member: tarfile.TarInfo, content: bytes) -> dict[str, Any]:
    """Where codes lie, how long they are, and their checksum."""
    shape = np.load(io.BytesIO(content), allow_pickle=False).shape
    place = {"codes_offset": member.offset_data, "codes_bytes": member.size}
    return place | {"codes_crc32": zlib.crc32(content), "frames": shape[-1]}


class _Growing:
    """A flat array written to disk piece by piece."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.path, self.dtype, self.count = path, np.dtype(dtype), 0
        self._raw = path.with_suffix(".raw").open("wb")

    def add(self, values: Any) -> None:
        values = np.asarray(values, self.dtype).ravel()
        self.count += len(values)
        self._raw.write(values.tobytes())

    def finish(self) -> None:
        """Puts the header of an npy file before what was written."""
        self._raw.close()
        raw = self.path.with_suffix(".raw")
        with self.path.open("wb") as file, raw.open("rb") as content:
            header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.count,)}
            np.lib.format.write_array_header_1_0(file, header)
            shutil.copyfileobj(content, file, 1 << 20)
        raw.unlink()


def _write(rows: Iterator[dict[str, Any]], folder: Path, separator: int) -> None:
    """Words are kept only where they are as many as the groups of phones: a crop could not tell which phones are whose."""
    starts = {f"{name}_start": np.int64 for name in _FLAT}
    arrays = {name: _Growing(folder / f"{name}.npy", dtype) for name, dtype in (_EACH | _FLAT | starts).items()}
    shards: dict[str, int] = {}
    speakers: dict[str, int] = {}
    for row in rows:
        arrays["frames"].add(row["frames"])
        arrays["shard"].add(shards.setdefault(row["shard"], len(shards)))
        arrays["offset"].add(row["codes_offset"])
        arrays["bytes"].add(row["codes_bytes"])
        arrays["crc32"].add(row["codes_crc32"])
        arrays["speaker"].add(speakers.setdefault(row["speaker"] or "", len(speakers)))
        words = row["words"] or []
        words = words if len(words) == 1 + row["phone_ids"].count(separator) else []
        times = [(word[edge] - row["start_ms"]) / FRAME_MS for word in words for edge in ("start_ms", "end_ms")]
        flat = {
            "phones": row["phone_ids"],
            "texts": np.frombuffer((row["text"] or "").encode(), np.uint8),
            "keys": np.frombuffer(row["key"].encode(), np.uint8),
            "word_frames": np.clip(np.round(times), 0, row["frames"]),
        }
        for name, values in flat.items():
            arrays[f"{name}_start"].add(arrays[name].count)
            arrays[name].add(values)
    for name in _FLAT:
        arrays[f"{name}_start"].add(arrays[name].count)
    for array in arrays.values():
        array.finish()
    (folder / "names.json").write_text(json.dumps({"shards": list(shards), "speakers": list(speakers)}))
