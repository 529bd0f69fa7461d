"""Index of a split: position and length of every sample, as memory-mapped flat arrays on local disk.

It is built once from the manifests of a release (or, slower, by reading plain tars) and then shared by all processes of a
machine. About 36 bytes per sample, plus its phones (2 bytes each), its text and its key.

Shapes: N samples, in storage order.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from voxbeam.safety.tombstones import Tombstones, read_feeds, require_no_tombstones
from voxbeam.schemas.errors import ConfigError, StorageError
from voxbeam.schemas.formats import SPLITS
from voxbeam.schemas.release import Release
from voxbeam.storage.bounded_json import parse_object
from voxbeam.storage.cache import cache_folder
from voxbeam.storage.releases import (
    changed_file_error,
    latest_release,
    read_release,
    release_numbers,
    require_codec,
    sample_batches,
)
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index_writer import COLUMNS, VERSION, write_index
from voxbeam.trainer.data.sample_filter import SampleFilter
from voxbeam.trainer.data.webdataset_tars import identify_tars, tar_batches


@dataclass(frozen=True)
class Index:
    """The samples of one split."""

    store: Store
    split: str
    release: int | None
    """its number; None for plain tars"""
    shards: tuple[str, ...]
    speakers: tuple[str, ...]
    identities: tuple[str, ...]
    """who the speakers are: the same person may have several names in `speakers`"""
    phones: tuple[str, ...]
    """the phone set; a phone id is an index into it"""
    arrays: dict[str, NDArray[Any]]
    content_hash: str
    """a hash of everything that the index was built from"""

    def __len__(self) -> int:
        return len(self.arrays["frames"])

    def ragged(self, name: str, sample: int) -> NDArray[Any]:
        """One sample's values of a ragged array: phones, texts, keys or word_frames [2 · words]."""
        start = self.arrays[f"{name}_start"]
        return self.arrays[name][start[sample] : start[sample + 1]]

    def ragged_many(self, name: str, samples: NDArray[np.int64]) -> list[NDArray[Any]]:
        """The same for several samples, faster than one by one."""
        flat, starts = self.arrays[name], self.arrays[f"{name}_start"]
        return [flat[start:end] for start, end in zip(starts[samples].tolist(), starts[samples + 1].tolist(), strict=True)]

    def text(self, sample: int) -> str:
        return self.ragged("texts", sample).tobytes().decode()

    def key(self, sample: int) -> str:
        return self.ragged("keys", sample).tobytes().decode()


def word_separator_id(phones: Sequence[str]) -> int:
    """The id of the phone `|` between words; -1 in a phone set without it."""
    return phones.index("|") if "|" in phones else -1


def open_index(
    uri: str,
    split: str = "train",
    release: int | None = None,
    data_filter: str = "",
    codec: str | None = None,
    feeds: Mapping[str, Tombstones] | None = None,
) -> Index:
    """The index of a release (by default the latest), or of plain WebDataset tars if there is no release.

    `data_filter` leaves out samples of a release (`SampleFilter`), `codec` names a further codec whose codes are read. Plain
    tars have neither, nor splits: all samples are in "train", and every byte is read once. `feeds` are the tombstones to ask, by
    address; those of the corpus, read now, if None. Raises StorageError for a place
    without release and tars, ConfigError for a filter that cannot be used or that leaves nothing, NotInCorpusError for a codec
    that the release lacks, and ConsentError for a release with a recording that the corpus has taken down since.
    """
    store = Store(uri)
    chosen = _release(store, release)
    if chosen is not None:
        require_no_tombstones(store, chosen, read_feeds(store) if feeds is None else feeds)
        return index_release(store, chosen, split, data_filter, codec)
    if data_filter or codec is not None:
        raise ConfigError(
            f"{'data_filter' if data_filter else 'the name of a codec'} needs a release, whose tables it asks",
            remedy="take it out, or name a corpus of `voxbeam build`",
        )
    tars = identify_tars(store)
    if tars and split != "train":
        raise StorageError(f"plain tars have no split {split!r}; put its samples into a folder of their own and name that folder")
    if not tars:
        raise StorageError(f"no release and no tar below {store.root}; name the output of `voxbeam build`, or a folder of tars")
    content = store.get("phones.json") if store.exists("phones.json") else b""
    phones = parse_phones(content, store.uri("phones.json")) if content else []
    content_hash = hashlib.sha256(f"{VERSION}{store.root}{tars}".encode() + content).hexdigest()[:20]
    folder = _build_index(content_hash, lambda: tar_batches(store, [path for path, _ in tars], len(phones)), phones)
    return _load_index(folder, store, split, None, phones)


def index_release(store: Store, release: Release, split: str, data_filter: str = "", codec: str | None = None) -> Index:
    """The index of a release. Nothing is asked of tombstones: to say what a run learned from, and not to train.

    Raises ConfigError for a filter that cannot be used or that leaves nothing, NotInCorpusError for a codec that it lacks.
    """
    require_codec(release, codec)
    phones = _released_phones(store, release)
    chosen = SampleFilter(data_filter) if data_filter else None

    def batches() -> Iterator[pa.RecordBatch]:
        if chosen is None:
            return sample_batches(store, release, split, COLUMNS, codec)
        return chosen.keep(sample_batches(store, release, split, [*dict.fromkeys((*COLUMNS, *chosen.columns))], codec))

    folder = _build_index(released_hash(release, split, data_filter, codec), batches, phones)
    index = _load_index(folder, store, split, release.number, phones)
    if chosen is not None and not len(index):
        raise ConfigError(
            f"data_filter {data_filter!r} holds for no sample of {split}",
            remedy="`voxbeam report` shows which values its columns have",
        )
    return index


def released_hash(release: Release, split: str, data_filter: str = "", codec: str | None = None) -> str:
    """The name of the index of a split of a release; one of a part of it, or of a further codec, begins with the name of the
    whole.
    """
    whole = hashlib.sha256(f"{VERSION}{split}".encode() + release.to_json()).hexdigest()[:20]
    whole = whole if codec is None else f"{whole}-codes_{codec}"
    return f"{whole}-{hashlib.sha256(data_filter.encode()).hexdigest()[:12]}" if data_filter else whole


def forget_index(release: Release) -> None:
    """Deletes what this machine's cache has of a release: texts and phones in its indexes, and codes in its blocks."""
    folder = cache_folder() / "stream"
    for split in SPLITS:
        name = released_hash(release, split)
        for path in (*folder.glob(f"{name}*"), *(folder / "blocks").glob(f"{name}-*")):
            shutil.rmtree(path, ignore_errors=True)


def parse_phones(content: bytes, where: str) -> list[str]:
    """The phones of a phones.json. Raises StorageError, naming the file."""
    try:
        phones = parse_object(content).get("phones")
        if not isinstance(phones, list) or not all(isinstance(phone, str) and phone for phone in phones):
            raise ValueError("its phones are not a list of texts")
        if len(set(phones)) < len(phones) or len(phones) >= 1 << 15:
            raise ValueError("a phone is in it twice, or there are too many")
    except ValueError as error:
        raise StorageError(f"{where} is not a phone set: {error}", remedy="restore it from a copy") from error
    return phones


def _released_phones(store: Store, release: Release) -> list[str]:
    file = release.files_of_kind("phones")[0]
    content = store.get(file.path)
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise changed_file_error(store, file)
    return parse_phones(content, store.uri(file.path))


def _release(store: Store, number: int | None) -> Release | None:
    if number is None:
        return latest_release(store)
    try:
        return read_release(store, number)
    except FileNotFoundError as error:
        existing = ", ".join(map(str, release_numbers(store))) or "none"
        raise StorageError(f"{store.root} has no release {number}; existing releases: {existing}") from error


def _build_index(content_hash: str, batches: Callable[[], Iterator[pa.RecordBatch]], phones: Sequence[str]) -> Path:
    """The folder of an index, which is built if it is not in the cache."""
    folder = cache_folder() / "stream" / content_hash
    if not (folder / "names.json").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{content_hash}.") as temporary:  # as `forget_index` looks
            built = Path(temporary) / content_hash
            built.mkdir()
            write_index(batches(), built, word_separator_id(phones), len(phones))
            with suppress(OSError):  # another process built the same index first
                built.rename(folder)
    return folder


def _load_index(folder: Path, store: Store, split: str, release: int | None, phones: Sequence[str]) -> Index:
    names = json.loads((folder / "names.json").read_text())
    arrays = {file.stem: np.asarray(np.load(file, mmap_mode="r")) for file in folder.glob("*.npy")}
    shards, speakers, identities = (tuple(names[name]) for name in ("shards", "speakers", "identities"))
    return Index(store, split, release, shards, speakers, identities, tuple(phones), arrays, content_hash=folder.name)
