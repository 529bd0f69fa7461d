"""Index: where every sample of a split lies and how long it is, as flat arrays on local disk, mapped into memory.

Made once from the manifests of a release (or, slower, by reading plain tars through), then opened in no time by every process
of a machine, which share its pages. About 36 bytes a sample, plus its phones (2 bytes each), its text and its key.

Shapes: N samples, in the order in which they are stored.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.releases import latest_release, sample_columns
from assets.resolve import cache_folder
from assets.storage import StorageError, Store
from schemas.manifest import FRAME_MS

_COLUMNS = ("key", "speaker", "text", "start_ms", "phone_ids", "words", "frames", "shard", "codes_offset", "codes_bytes")
_VERSION = 2
"""of what an index holds; one that another version left in the cache is not opened"""
_FLAT: dict[str, Any] = {"phones": np.int16, "texts": np.uint8, "keys": np.uint8, "word_frames": np.int32}
"""one value after the other for all samples; `<name>_start` [N + 1] says where a sample's begin"""
_EACH: dict[str, Any] = {"frames": np.int32, "shard": np.int32, "offset": np.int64, "bytes": np.int32, "speaker": np.int32}


@dataclass(frozen=True)
class Index:
    """Samples of one split."""

    store: Store
    shards: tuple[str, ...]
    speakers: tuple[str, ...]
    phones: tuple[str, ...]
    """the phone inventory; an id is a place in it"""
    arrays: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.arrays["frames"])

    def flat(self, name: str, sample: int) -> NDArray[Any]:
        """A sample's phones, text, key or word frames [2 · words]."""
        start = self.arrays[f"{name}_start"]
        return self.arrays[name][start[sample] : start[sample + 1]]

    def text(self, sample: int) -> str:
        return self.flat("texts", sample).tobytes().decode()

    def key(self, sample: int) -> str:
        return self.flat("keys", sample).tobytes().decode()


def separator_of(phones: Sequence[str]) -> int:
    """The id that stands between words; -1 in an inventory without one."""
    return phones.index("|") if "|" in phones else -1


def open_index(uri: str, split: str = "train") -> Index:
    """The index of a corpus's latest release; of plain WebDataset tars where there is no release (every byte is then read once).

    Plain tars have no splits: they are all "train". Raises StorageError when nothing is there.
    """
    store = Store(uri)
    release = latest_release(store)
    if release is not None:
        phones = json.loads(store.get(release.of_kind("phones")[0].path))["phones"]
        stamp = hashlib.sha256(f"{_VERSION}{split}".encode() + release.to_json()).hexdigest()[:20]
        return _opened(store, stamp, lambda: sample_columns(store, release, split, _COLUMNS), phones)
    tars = [(path, size) for path, size in store.walk() if path.endswith(".tar")]
    if tars and split != "train":
        raise StorageError(f"plain tars have no split {split!r}; put those samples into a folder of their own, and name that")
    if not tars:
        raise StorageError(f"no release and no tar below {store.root}; name what `voxbeam build` made, or a folder of tars")
    stamp = hashlib.sha256(f"{_VERSION}{store.root}{tars}".encode()).hexdigest()[:20]
    phones = json.loads(store.get("phones.json"))["phones"] if store.exists("phones.json") else []
    return _opened(store, stamp, lambda: _tar_rows(store, [path for path, _ in tars]), phones)


def _opened(store: Store, stamp: str, rows: Any, phones: Sequence[str]) -> Index:
    folder = cache_folder() / "stream" / stamp
    if not (folder / "names.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
            made = Path(aside) / stamp
            made.mkdir()
            _write(rows(), made, separator_of(phones))
            with suppress(OSError):  # another process was faster, with the same content
                made.rename(folder)
    names = json.loads((folder / "names.json").read_text())
    arrays = {file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in folder.glob("*.npy")}
    return Index(store, tuple(names["shards"]), tuple(names["speakers"]), tuple(phones), arrays)


def _tar_rows(store: Store, paths: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of plain tars: members `<key>.codes.npy` and `<key>.json` of a sample stand together."""
    for path in paths:
        with store.as_local(path) as local, tarfile.open(local, "r:") as tar:
            waiting: dict[str, dict[str, Any]] = {}
            for member in tar:
                key, _, extension = member.name.partition(".")
                if not member.isreg() or extension not in ("codes.npy", "json"):
                    continue
                row = waiting.setdefault(key, {"key": key, "shard": path})
                file = tar.extractfile(member)
                assert file is not None
                if extension == "json":
                    told = json.load(file)
                    row |= {"words": None} | {
                        name: told.get(name) for name in ("speaker", "text", "start_ms", "phone_ids", "words")
                    }
                else:
                    row |= {"codes_offset": member.offset_data, "codes_bytes": member.size}
                    np.lib.format.read_magic(file)
                    row["frames"] = np.lib.format.read_array_header_1_0(file)[0][1]
                if "frames" in row and "phone_ids" in row:
                    yield waiting.pop(key)


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
