"""The samples of plain WebDataset tars, which have no manifest. Every byte is read once."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.store import Store
from voxbeam.trainer.data.index_writer import COLUMNS


def tar_batches(store: Store, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The samples of tars, in the columns of a manifest. Raises StorageError for an incomplete sample."""
    schema = pa.schema([arrow_schema(SampleRow).field(name).with_nullable(True) for name in COLUMNS])
    rows = _rows(store, paths)
    while chunk := list(islice(rows, 10_000)):
        yield pa.RecordBatch.from_pylist(chunk, schema=schema)


def _rows(store: Store, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row per sample, which has the tar members `<key>.codes.npy` and `<key>.json`.

    Raises StorageError for a sample without one of them, or without phones.
    """
    for path in paths:
        with store.local_copy(path) as local, tarfile.open(local, "r:") as tar:
            waiting: dict[str, dict[str, Any]] = {}
            for member in tar:
                key, _, extension = member.name.partition(".")
                if not member.isreg() or extension not in ("codes.npy", "json"):
                    continue
                row = waiting.setdefault(key, {"key": key, "shard": path, "words": None})
                file = tar.extractfile(member)
                assert file is not None
                row |= _codes_columns(member, file.read()) if extension == "codes.npy" else _json_columns(json.load(file))
                if "frames" in row and "phone_ids" in row:
                    if not row["phone_ids"]:
                        raise StorageError(f"{key}.json in {store.uri(path)} has no phone_ids: phonemize it, or remove it")
                    yield waiting.pop(key)
        for key, row in waiting.items():
            missing = "json" if "frames" in row else "codes.npy"
            raise StorageError(
                f"{store.uri(path)} has no {key}.{missing}, only the rest of {key}: recreate the tar, or remove it"
            )


def _json_columns(tree: dict[str, Any]) -> dict[str, Any]:
    """The columns that come from a sample's JSON member."""
    return {name: tree.get(name) for name in ("speaker", "text", "start_ms", "phone_ids", "words")}


def _codes_columns(member: tarfile.TarInfo, content: bytes) -> dict[str, Any]:
    """Position, length and checksum of a sample's codes."""
    shape = np.load(io.BytesIO(content), allow_pickle=False).shape
    position = {"codes_offset": member.offset_data, "codes_bytes": member.size}
    return position | {"codes_crc32": zlib.crc32(content), "frames": shape[-1]}
