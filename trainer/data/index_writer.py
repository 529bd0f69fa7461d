"""Writes an index: the columns of a manifest, batch by batch, as flat arrays.

Shapes: N samples, of one batch or of all; W words of all samples of a batch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.formats import FRAME_MS

VERSION = 4
"""version of the format; an index of another version in the cache is ignored"""
COLUMNS = (
    *("key", "speaker", "identity", "text", "start_ms", "phone_ids", "words", "frames"),
    *("shard", "codes_offset", "codes_bytes", "codes_crc32"),
)
"""columns of a manifest that an index is built from"""
_FIXED: dict[str, Any] = {
    "frames": np.int32,
    "shard": np.int32,
    "offset": np.int64,
    "bytes": np.int32,
    "crc32": np.uint32,
    "speaker": np.int32,
    "identity": np.int32,
}
_RAGGED: dict[str, Any] = {"phones": np.int16, "texts": np.uint8, "keys": np.uint8, "word_frames": np.int32}
"""concatenated values of all samples; a sample's values start at `<name>_start` [N + 1]"""


def write_index(batches: Iterable[pa.RecordBatch], folder: Path, separator: int, n_phones: int) -> None:
    """Writes one npy file per array, and names.json with the names behind the numbers of shards, speakers and identities.

    `separator` is the id of the phone between words. A sample's word times are kept only if it has as many words as groups of
    phones: otherwise a crop could not match words and phones. Raises StorageError, naming the sample, for numbers that no sample
    can have; without a phone set, `n_phones` is 0 and any phone id will do.
    """
    starts = {f"{name}_start": np.int64 for name in _RAGGED}
    arrays = {name: _NpyWriter(folder / f"{name}.npy", dtype) for name, dtype in (_FIXED | _RAGGED | starts).items()}
    shards: dict[str, int] = {}
    speakers: dict[str, int] = {}
    identities: dict[str, int] = {}
    for batch in batches:
        _check_batch(batch, n_phones)
        each = {
            "frames": batch["frames"],
            "shard": _dictionary_encode(batch["shard"], shards),
            "offset": batch["codes_offset"],
            "bytes": batch["codes_bytes"],
            "crc32": batch["codes_crc32"],
            "speaker": _dictionary_encode(batch["speaker"].fill_null(""), speakers),
            "identity": _dictionary_encode(_identity(batch), identities),
        }
        for name, values in each.items():
            arrays[name].add(np.asarray(values))
        flat = {
            "phones": (batch["phone_ids"].flatten(), np.asarray(pc.list_value_length(batch["phone_ids"]))),
            "texts": _bytes(batch["text"].fill_null("")),
            "keys": _bytes(batch["key"]),
            "word_frames": _word_frames(batch, separator),
        }
        for name, (values, lengths_N) in flat.items():
            ends_N = np.cumsum(lengths_N, dtype=np.int64)
            arrays[f"{name}_start"].add(arrays[name].count + ends_N - lengths_N)
            arrays[name].add(np.asarray(values))
    for name in _RAGGED:
        arrays[f"{name}_start"].add(np.array([arrays[name].count]))
    for array in arrays.values():
        array.finish()
    (folder / "names.json").write_text(
        json.dumps({"shards": list(shards), "speakers": list(speakers), "identities": list(identities)})
    )


def _check_batch(batch: pa.RecordBatch, n_phones: int) -> None:
    most = n_phones or np.iinfo(np.int16).max + 1
    ids, counts_N = np.asarray(batch["phone_ids"].flatten()), np.asarray(pc.list_value_length(batch["phone_ids"]).fill_null(0))
    wrong_N = np.zeros(len(batch), bool)
    np.logical_or.at(wrong_N, np.repeat(np.arange(len(batch)), counts_N), (ids < 0) | (ids >= most))
    frames_N, offset_N, bytes_N = (np.asarray(batch[name]) for name in ("frames", "codes_offset", "codes_bytes"))
    wrong_N |= (counts_N < 1) | (frames_N < 1) | (offset_N < 0) | (bytes_N < 1) | (bytes_N > np.iinfo(np.int32).max)
    if wrong_N.any():
        key = batch["key"][int(np.flatnonzero(wrong_N)[0])].as_py()
        raise StorageError(
            f"the sample {key} has no phones or frames, phone ids outside 0 to {most - 1}, or an impossible place in its shard",
            remedy="run `voxbeam verify`, and build the release again",
        )


def _dictionary_encode(names: pa.Array, known: dict[str, int]) -> NDArray[np.int64]:
    """Names as numbers, in order of first occurrence."""
    encoded = names.dictionary_encode()
    numbers = np.array([known.setdefault(name, len(known)) for name in encoded.dictionary.to_pylist()], np.int64)
    return numbers[np.asarray(encoded.indices)] if len(names) else numbers


def _identity(batch: pa.RecordBatch) -> pa.Array:
    """Who speaks each sample: its identity, else its speaker, else ""."""
    return pc.coalesce(*(pc.cast(batch[name], pa.string()) for name in ("identity", "speaker")), "")


def _bytes(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The concatenated UTF-8 of texts, and the length of each in bytes."""
    joined = "".join(texts.to_pylist()).encode()
    return np.frombuffer(joined, np.uint8), np.asarray(pc.binary_length(texts)).astype(np.int64)


def _word_frames(batch: pa.RecordBatch, separator: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last frame of every word, concatenated, and the number of values of each sample."""
    phones, phone_counts_N = np.asarray(batch["phone_ids"].flatten()), np.asarray(pc.list_value_length(batch["phone_ids"]))
    separators = np.append(0, np.cumsum(phones == separator))
    ends_N = np.cumsum(phone_counts_N)
    groups_N = 1 + separators[ends_N] - separators[ends_N - phone_counts_N]
    words_N = np.asarray(pc.list_value_length(batch["words"]).fill_null(0)).astype(np.int64)
    kept_N = words_N == groups_N
    row_W = np.repeat(np.arange(len(words_N)), words_N)
    words = batch["words"].flatten()
    edges_W2 = np.stack([np.asarray(words.field(edge), np.float64) for edge in ("start_ms", "end_ms")], axis=1)
    start_ms_N, frames_N = np.asarray(batch["start_ms"].fill_null(0)), np.asarray(batch["frames"])
    frames_W2 = np.clip(np.round((edges_W2 - start_ms_N[row_W, None]) / FRAME_MS), 0, frames_N[row_W, None])
    return frames_W2[kept_N[row_W]].astype(np.int64).ravel(), 2 * words_N * kept_N


class _NpyWriter:
    """An npy file that is written piece by piece."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.path, self.dtype, self.count = path, np.dtype(dtype), 0
        self._raw = path.with_suffix(".raw").open("wb")

    def add(self, values: NDArray[Any]) -> None:
        self.count += len(values)
        self._raw.write(values.astype(self.dtype).tobytes())

    def finish(self) -> None:
        """Writes the header, now that the length is known, before the data."""
        self._raw.close()
        raw = self.path.with_suffix(".raw")
        with self.path.open("wb") as file, raw.open("rb") as content:
            header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": (self.count,)}
            np.lib.format.write_array_header_1_0(file, header)
            shutil.copyfileobj(content, file, 1 << 20)
        raw.unlink()
