"""A ledger as a table that DuckDB and others read: one row an event, with what it says. Personal data stays sealed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.safety.events import FIELDS, Event, to_time

_LISTS = ("models", "purposes", "recordings", "recordings_hmac", "retire", "scopes", "sounds")
_TIMES = ("expires", "not_before")
_TIME = pa.timestamp("s", tz="UTC")
_OF_BODIES = sorted({name for fields in FIELDS.values() for name in fields})
SCHEMA = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("recorded_at", _TIME, nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("signers", pa.list_(pa.string()), nullable=False),
        *(
            pa.field(name, pa.list_(pa.string()) if name in _LISTS else _TIME if name in _TIMES else pa.string())
            for name in _OF_BODIES
        ),
    ]
)


def to_parquet(events: Sequence[Event]) -> bytes:
    """The events as a Parquet file; of a field that an event does not have, the value is null."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([_row(event) for event in events], SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def _row(event: Event) -> dict[str, Any]:
    body = {name: to_time(value) if name in _TIMES else value for name, value in event.body.items()}
    return body | {
        "seq": event.seq, "recorded_at": event.at, "kind": event.kind, "digest": event.digest, "signers": sorted(event.signers)
    }  # fmt: skip
