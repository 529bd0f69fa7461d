"""Hugging Face `datasets`: a folder of Parquet files and a card, which `load_dataset` takes as it is.

`data/<split>-<number>-of-<total>.parquet` has a row for each sample: every column of the release but its places in the corpus,
the codes as lists int16 [8][T], those of a further codec as `codes_<name>`, and the audio as the file's bytes.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.exports.parts import PLACES, Part, Sample, read_samples
from voxbeam.exports.request import ExportRequest
from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.schemas.manifest import SampleRow

_CODES = pa.list_(pa.list_(pa.int16()))
_AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


class HuggingFace:
    """Writes parts as Parquet files."""

    name = "datasets"
    sounds = ("kept", "codes", "sources", "none")

    def write(self, request: ExportRequest) -> None:
        totals = Counter(part.split for part in request.parts)
        schema = request_schema(request)
        missing = [part for part in request.parts if not request.target.has(_path(part, totals[part.split]))]
        for part, table in request.tables(missing):

            def fill(local: Path, table: pa.Table = table) -> None:
                with pq.ParquetWriter(local, schema, compression="zstd") as writer:
                    for samples in read_samples(
                        request.corpus.store, request.corpus.release, table, kept=request.sound == "kept"
                    ):
                        writer.write_table(_rows(samples, schema, request))

            request.target.write(_path(part, totals[part.split]), fill)
            request.done(part)

    def metadata(self, request: ExportRequest) -> dict[str, Any]:
        """Keys of the card: where the files of each split are, and the types of the columns."""
        splits = list(dict.fromkeys(part.split for part in request.parts))
        return {
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits],
                }
            ],
            "dataset_info": {"features": [{"name": f.name, **_feature(f.type)} for f in request_schema(request)]},
        }

    def loading(self, request: ExportRequest) -> str:
        text = "## How to load it\n\n```python\nfrom datasets import load_dataset\n\n"
        text += 'data = load_dataset("path/of/this/folder")\n```\n\n'
        text += "`codes` are lists of 8 lists of codec tokens, 75 a second."
        if further := request.corpus.release.codecs:
            text += f" Those of the further codecs are {', '.join(f'`codes_{name}`' for name in further)}."
        return text + request.sound_sentence("`audio` is ")


def export_schema(codecs: Sequence[str], *, audio: bool) -> pa.Schema:
    """Columns of an exported sample, each with its documentation. `codecs` are the release's further ones."""
    columns = [column for column in arrow_schema(SampleRow) if column.name not in PLACES]
    columns.append(pa.field("codes", _CODES, metadata={"doc": "codec tokens, 8 lists of 75 a second"}))
    for codec in codecs:
        columns.append(pa.field(f"codes_{codec}", _CODES, metadata={"doc": f"codec tokens of the further codec {codec}"}))
    if audio:
        columns.append(pa.field("audio", _AUDIO, metadata={"doc": "FLAC, mono, 24 kHz"}))
    return pa.schema(columns)


def request_schema(request: ExportRequest) -> pa.Schema:
    """The columns of this export."""
    return export_schema(request.corpus.release.codecs, audio=request.sound != "none")


def _rows(samples: list[Sample], schema: pa.Schema, request: ExportRequest) -> pa.Table:
    rows = []
    for sample in samples:
        row = dict(sample.row)
        for codec, codes in sample.codes.items():
            row["codes" if codec is None else f"codes_{codec}"] = list(np.load(io.BytesIO(codes), allow_pickle=False))
        if request.sound != "none":
            row["audio"] = {"bytes": request.flac(sample), "path": f"{sample.row['key']}.flac"}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema)


def _path(part: Part, total: int) -> str:
    return f"data/{part.split}-{part.number:05d}-of-{total:05d}.parquet"


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """A type, as the card's YAML names it."""
    if kind == _AUDIO:
        return {"dtype": {"audio": {"sampling_rate": CODEC_RATE}}}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": f.name, **_feature(f.type)} for f in kind]}
    if pa.types.is_list(kind):
        inner = _feature(kind.value_type)
        return {"list": inner.get("dtype") or inner.get("struct") or inner}
    names = {"float": "float32", "double": "float64"}
    return {"dtype": names.get(str(kind), str(kind))}
