"""Listings: tables of recordings that a user wrote, as Parquet, JSON lines or CSV."""

import csv
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from voxbeam.storage.store import open_local

LISTING_SUFFIXES = frozenset({".parquet", ".jsonl", ".csv"})


def is_listing(uri: str) -> bool:
    """Whether an address has the suffix of a listing."""
    return PurePosixPath(uri).suffix.lower() in LISTING_SUFFIXES


def read_listing(uri: str) -> Iterator[dict[str, Any]]:
    """Rows of a listing at a path or in a bucket. Raises OSError or ValueError when it cannot be read."""
    suffix = PurePosixPath(uri).suffix.lower()
    with open_local(uri) as path:
        if suffix == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
        elif suffix == ".jsonl":
            with path.open(encoding="utf-8") as file:
                yield from (json.loads(line) for line in file if line.strip())
        else:
            with path.open(encoding="utf-8", newline="") as file:
                yield from csv.DictReader(file)
