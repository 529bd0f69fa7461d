"""What tests of exports compare: rows, the audio that the build kept, and the files of a folder."""

import io
from pathlib import Path

import numpy as np
import soundfile as sf

from voxbeam.corpus import Corpus
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.releases import read_rows


def rows(corpus: Corpus) -> dict[str, SampleRow]:
    return {row.key: row for row in read_rows(corpus.store, corpus.release, SampleRow)}


def kept(corpus: Corpus, row: SampleRow) -> np.ndarray:
    assert row.flac_offset is not None and row.flac_bytes is not None
    content = corpus.store.get_range(row.shard, row.flac_offset, row.flac_bytes)
    return sf.read(io.BytesIO(content), dtype="float32")[0]


def objects(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
