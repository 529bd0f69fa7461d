"""Further codes: those of codecs besides the first, in units and in samples (`codecs` of the configuration)."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from voxbeam.schemas.columns import column
from voxbeam.schemas.errors import StorageError

FurtherCodes = list[dict[str, Any]] | None
"""one for each further codec, in order of name"""
CODES_COLUMNS = ("codes_offset", "codes_bytes", "codes_crc32")
"""where the codes of the first codec are in a shard"""


def unit_column() -> Any:
    """The column of a unit's rows."""
    return column(
        pa.list_(pa.struct([("codec", pa.string()), ("codes", pa.binary())])),
        "codes of further codecs, in order of name, each like `codes`; only with `codecs` in the configuration",
        default=None,
        extra=True,
    )


def sample_column() -> Any:
    """The column of a release's samples."""
    place = [("codec", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64()), ("crc32", pa.uint32())]
    return column(
        pa.list_(pa.struct(place)),
        "where `<key>.codes.<codec>.npy` of each further codec is in the shard; only releases with `codecs` in their "
        "configuration have this column",
        default=None,
        extra=True,
    )


def columns_to_read(columns: Sequence[str], codec: str | None) -> list[str]:
    """Columns of samples that `with_codes_of` needs to give some columns."""
    if codec is None:
        return list(columns)
    return [*(name for name in columns if name not in CODES_COLUMNS), "further_codes"]


def with_codes_of(batch: pa.RecordBatch, codec: str | None) -> pa.RecordBatch:
    """Samples whose CODES_COLUMNS say where the codes of a further codec are; of the first codec, if None.

    Raises StorageError if a sample does not have them.
    """
    if codec is None:
        return batch
    places = batch["further_codes"].flatten()
    chosen = places.filter(pc.equal(places.field("codec"), codec))
    rows = pc.list_parent_indices(batch["further_codes"]).filter(pc.equal(places.field("codec"), codec))
    if not rows.equals(pa.array(range(len(batch)), rows.type)):
        raise StorageError(
            f"not every sample of a release has codes of its codec {codec!r}", remedy="`voxbeam verify` lists all damage"
        )
    kept = [name for name in batch.schema.names if name not in ("further_codes", *CODES_COLUMNS)]
    arrays = [*(batch[name] for name in kept), *(chosen.field(name.removeprefix("codes_")) for name in CODES_COLUMNS)]
    return pa.RecordBatch.from_arrays(arrays, names=[*kept, *CODES_COLUMNS])


def place_of_codes(sample: Mapping[str, Any], codec: str | None) -> tuple[int, int, int]:
    """Offset, length and CRC-32 of the codes of a sample, of a further codec, or of the first if None.

    Raises StorageError if the sample does not have them.
    """
    if codec is None:
        return sample["codes_offset"], sample["codes_bytes"], sample["codes_crc32"]
    for one in sample.get("further_codes") or ():
        if one["codec"] == codec:
            return one["offset"], one["bytes"], one["crc32"]
    raise StorageError(f"{sample['key']} has no codes of the codec {codec!r}", remedy="`voxbeam verify` lists all damage")
