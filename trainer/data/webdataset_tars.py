"""Plain tars: the samples of any WebDataset tars with our members, without a manifest. Every byte is read once."""

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
    """The samples of tars, as a manifest would tell them. Raises StorageError for one that lacks a member, or its phones."""
    schema = pa.schema([arrow_schema(SampleRow).field(name).with_nullable(True) for name in COLUMNS])
    rows = _rows(store, paths)
    while some := list(islice(rows, 10_000)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def _rows(store: Store, paths: Sequence[str]) -> Iterator[dict[str, Any]]:
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
