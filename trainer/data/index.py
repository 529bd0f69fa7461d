"""Index: where every sample of a split lies and how long it is, as flat arrays on local disk, mapped into memory.

Made once from the manifests of a release (or, slower, by reading plain tars through), then opened in no time by every process
of a machine, which share its pages. About 36 bytes a sample, plus its phones (2 bytes each), its text and its key.

Shapes: N samples, in the order in which they are stored.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.release import Release
from voxbeam.storage.cache import cache_folder
from voxbeam.storage.releases import latest_release, read_release, release_numbers, sample_batches
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index_writer import COLUMNS, VERSION, write_index
from voxbeam.trainer.data.webdataset_tars import tar_batches


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
    """the phone set; an id is a place in it"""
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
    """The id that stands between words; -1 in a phone set without one."""
    return phones.index("|") if "|" in phones else -1


def open_index(uri: str, split: str = "train", release: int | None = None) -> Index:
    """The index of a release, by default the latest; of plain WebDataset tars where there is none (every byte is then read once).

    Plain tars have no splits: they are all "train". Raises StorageError when nothing is there.
    """
    store = Store(uri)
    chosen = _release(store, release)
    if chosen is not None:
        phones = json.loads(store.get(chosen.files_of_kind("phones")[0].path))["phones"]
        stamp = hashlib.sha256(f"{VERSION}{split}".encode() + chosen.to_json()).hexdigest()[:20]
        folder = _made(stamp, lambda: sample_batches(store, chosen, split, COLUMNS), phones)
        return _opened(folder, store, split, chosen.number, phones)
    tars = [(path, size) for path, size in store.walk() if path.endswith(".tar")]
    if tars and split != "train":
        raise StorageError(f"plain tars have no split {split!r}; put those samples into a folder of their own, and name that")
    if not tars:
        raise StorageError(f"no release and no tar below {store.root}; name what `voxbeam build` made, or a folder of tars")
    stamp = hashlib.sha256(f"{VERSION}{store.root}{tars}".encode()).hexdigest()[:20]
    phones = json.loads(store.get("phones.json"))["phones"] if store.exists("phones.json") else []
    folder = _made(stamp, lambda: tar_batches(store, [path for path, _ in tars]), phones)
    return _opened(folder, store, split, None, phones)


def _release(store: Store, number: int | None) -> Release | None:
    if number is None:
        return latest_release(store)
    try:
        return read_release(store, number)
    except FileNotFoundError as error:
        there = ", ".join(map(str, release_numbers(store))) or "none"
        raise StorageError(f"{store.root} has no release {number}; there are: {there}") from error


def _made(stamp: str, batches: Callable[[], Iterator[pa.RecordBatch]], phones: Sequence[str]) -> Path:
    """The folder of an index, made where it is not in the cache yet."""
    folder = cache_folder() / "stream" / stamp
    if not (folder / "names.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
            made = Path(aside) / stamp
            made.mkdir()
            write_index(batches(), made, separator_of(phones))
            with suppress(OSError):  # another process was faster, with the same content
                made.rename(folder)
    return folder


def _opened(folder: Path, store: Store, split: str, release: int | None, phones: Sequence[str]) -> Index:
    names = json.loads((folder / "names.json").read_text())
    arrays = {file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in folder.glob("*.npy")}
    shards, speakers = tuple(names["shards"]), tuple(names["speakers"])
    return Index(store, split, release, shards, speakers, tuple(phones), arrays, stamp=folder.name)
