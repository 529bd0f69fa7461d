"""Corpus: a release for reading — its tables as Arrow, the codes and the audio of a sample, and batches for training."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from voxbeam.schemas.columns import Record, arrow_schema
from voxbeam.schemas.errors import ModelError, NotInCorpusError, QueryError, StorageError
from voxbeam.schemas.formats import FRAME_RATE, SPLITS
from voxbeam.schemas.further_codes import CODES_COLUMNS, place_of_codes
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.manifest import EXCLUDED, RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.find_segments import by_name, by_query, by_reason
from voxbeam.storage.releases import load_release, require_codec, sample_batches, table_batches
from voxbeam.storage.sorted_keys import SortedKeys, key_digests
from voxbeam.storage.store import Store

if TYPE_CHECKING:
    from voxbeam.models.codec import Codec
    from voxbeam.storage.release_tables import ReleaseTables
    from voxbeam.trainer.data.stream import Stream
    from voxbeam.transforms.audio.source_cut import SourceCutter


class Corpus:
    """A release of a corpus in a folder or a bucket, by default the latest.

    Safe to use from several threads. Neither Beam nor torch is imported until audio or a stream is asked for.

    Args:
        uri: folder or bucket prefix that `build` wrote.
        release: number of the release; the latest if None.
        codec: where the weights of the corpus's codec are, if not where the build read them.
        codec_name: name of a further codec of the release, whose codes are read in place of those of the first.

    Raises StorageError when there is no such release, NotInCorpusError for a codec that it does not have.

    Example::

        corpus = Corpus("s3://corpora/librilight")
        for batch in corpus.samples("train", columns=["key", "speaker", "text"]):
            ...
    """

    def __init__(self, uri: str, release: int | None = None, *, codec: str | None = None, codec_name: str | None = None) -> None:
        self.store = Store(uri)
        self.release: Release = load_release(self.store, release)
        require_codec(self.release, codec_name)
        self._codec_weights, self.codec_name = codec, codec_name
        self._lock = threading.Lock()

    @property
    def uri(self) -> str:
        """Folder or bucket prefix of the corpus."""
        return self.store.root

    @property
    def name(self) -> str:
        """Name of the release, e.g. `000003`."""
        return self.release.name

    def __repr__(self) -> str:
        return f"Corpus({self.uri!r}, release={self.release.number})"

    def shards(self, split: str | None = None) -> list[str]:
        """Paths or bucket addresses of the tars of a split, or of all splits, in order. Any WebDataset reader takes them."""
        _check_split(split)
        folder = "shards/" if split is None else f"shards/{split}/"
        return sorted(self.store.uri(f.path) for f in self.release.files_of_kind("shard") if f.path.startswith(folder))

    def samples(self, split: str | None = None, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """The samples of a split, or of all splits, as Arrow batches: an iterator that DuckDB can also query.

        `columns` are names from docs/columns.md; all if None. They are as stored: `codes_offset` and its like are of the first
        codec whatever `codec_name` is, `further_codes` of the others. Memory is bounded: batches have at most 10,000 rows.
        """
        _check_split(split)
        if split is None or columns is None or "split" in columns:
            return self._table(SampleRow, columns, split)
        return _reader(_schema(SampleRow, columns), self._batches(SampleRow, [*columns, "split"], split))

    def rejected(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """The rejected segments, with their scores and reasons, as Arrow batches."""
        return self._table(RejectedRow, columns, None)

    def recordings(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """The recordings, done and quarantined, as Arrow batches."""
        return self._table(RecordingRow, columns, None)

    def identities(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """The persons: name, voices, split, confidence and what is doubtful, as Arrow batches (docs/identities.md)."""
        return self._table(IdentityRow, columns, None)

    def sql(self, query: str) -> pa.Table:
        """The answer of DuckDB to a query of the tables: samples, rejected, recordings, shards, voices, identities, and segments,
        which is samples and rejected together, with `accepted` (docs/audit.md has examples).

        Memory is bounded but for the result. Raises QueryError for a query that cannot be answered, or that does not only read.
        """
        with self._lock:
            return self._tables.answer(query)

    def find(
        self, name: str | None = None, *, reason: str | None = None, sql: str | None = None, limit: int = 20
    ) -> list[dict[str, Any]]:
        """Segments, accepted and rejected, each as a dict of its columns: text, scores, `accepted`, `reasons`.

        Args:
            name: a key, or a recording, whose segments are found in order of time.
            reason: code of a reason: segments that were rejected for it, those that have no other first.
            sql: a query that returns a column `key`.
            limit: how many to find at most.

        Raises NotInCorpusError for a name or reason that the release does not have.
        """
        given = [(by_name, name), (by_reason, reason), (by_query, sql)]
        chosen = [(search, value) for search, value in given if value is not None]
        if len(chosen) != 1:
            raise QueryError("find needs exactly one of name, reason and sql")
        ((search, value),) = chosen
        with self._lock:
            return search(self._tables, value, limit)

    def codes(self, key: str) -> NDArray[np.int16]:
        """Codec codes int16 [8, T] of a sample, 75 frames per second, by one ranged read.

        The first call reads all keys of the release and keeps 28 bytes of memory for each. Raises NotInCorpusError for a key that
        is not in the release, StorageError for bytes that do not have the manifest's CRC-32.
        """
        return self._read_codes(key, *self._locate(key))

    def audio(self, key: str) -> NDArray[np.float32]:
        """Audio float32 [320 · T] of a sample, mono at 24 kHz, in [−1, 1], decoded from its codes by the corpus's own codec.

        Raises ModelError when the codec cannot be loaded or is not the one that made the codes.
        """
        return self.decode(self.codes(key))

    def sound(self, segment: dict[str, Any], *, source: bool = False, seconds: float | None = None) -> NDArray[np.float32]:
        """Audio float32 [S] of a segment that `find` returned, accepted or rejected, mono at 24 kHz.

        A sample is decoded from its codes; a rejected segment, or any with `source`, is cut from its recording. Only its first
        `seconds`, if given.

        Raises NotInCorpusError for what was left out on purpose (docs/policy.md), StorageError when the recording is not where it
        was listed, has changed or cannot be decoded, ModelError when the codec cannot be loaded, or what decodes recordings
        (voxbeam[pipeline]) is not installed.
        """
        if segment["accepted"] and not source:
            codes_KT = self._read_codes(segment["key"], segment["shard"], *place_of_codes(segment, self.codec_name))
            return self.decode(codes_KT[:, : None if seconds is None else round(seconds * FRAME_RATE)])
        if EXCLUDED in segment["reasons"]:
            raise NotInCorpusError(f"{segment['key']} was left out on purpose: its sound is not for this corpus")
        start_ms, end_ms = segment["start_ms"], segment["end_ms"]
        if seconds is not None:
            end_ms = min(end_ms, start_ms + round(seconds * 1000))
        with self._lock:
            query = "SELECT * FROM recordings WHERE recording = $recording"
            recording = RecordingRow(**self._tables.row(query, {"recording": segment["recording"]}))
            return self._cutter.cut(recording, start_ms, end_ms, segment["channel"])

    def stream(self, split: str = "train", **options: Any) -> Stream:
        """Batches for training: `voxbeam.trainer.data.stream.Stream` of this release. `options` are those of Stream."""
        from voxbeam.trainer.data.stream import Stream

        return Stream(self.uri, split=split, release=self.release.number, codec=self.codec_name, **options)

    def _read_codes(self, key: str, shard: str, offset: int, size: int, crc32: int) -> NDArray[np.int16]:
        """Codes of a sample whose place is known. Raises StorageError for bytes that do not have this CRC-32."""
        content = self.store.get_range(shard, offset, size)
        if zlib.crc32(content) != crc32:
            raise StorageError(
                f"codes of {key} in {self.store.uri(shard)} are damaged", remedy="`voxbeam verify` lists all damage"
            )
        codes: NDArray[np.int16] = np.load(io.BytesIO(content), allow_pickle=False)
        return codes

    def decode(self, codes_KT: NDArray[np.int16]) -> NDArray[np.float32]:
        """Audio float32 [320 · T] of codes [8, T], as `audio` gives it."""
        with self._lock:
            wave_S: NDArray[np.float32] = self._codec.decode([codes_KT])[0]
        return wave_S

    def _table(self, record: type[Record], columns: Sequence[str] | None, split: str | None) -> pa.RecordBatchReader:
        return _reader(_schema(record, columns), self._batches(record, columns, split))

    def _batches(self, record: type[Record], columns: Sequence[str] | None, split: str | None) -> Iterator[pa.RecordBatch]:
        for batch in table_batches(self.store, self.release, record, columns):
            yield batch if split is None else batch.filter(pc.equal(batch["split"], split))

    @cached_property
    def _tables(self) -> ReleaseTables:
        from voxbeam.storage.release_tables import ReleaseTables

        return ReleaseTables(self.store, self.release)

    @cached_property
    def _cutter(self) -> SourceCutter:
        from voxbeam.transforms.audio.source_cut import SourceCutter

        return SourceCutter()

    @cached_property
    def _codec(self) -> Codec:
        from voxbeam.models.codec import load_codec
        from voxbeam.models.codec_weights import codec_weights

        stated, sha256 = self.release.codec(self.codec_name)
        try:
            return load_codec(codec_weights(self._codec_weights or stated)[0], sha256=sha256)
        except (ModelError, OSError, ValueError) as error:
            message = error.message if isinstance(error, ModelError) else str(error)
            raise ModelError(
                f"the codec of {self.uri} cannot be loaded: {message}", remedy="name its weights: Corpus(uri, codec=...)"
            ) from error

    @cached_property
    def _index(self) -> tuple[SortedKeys, NDArray[Any], list[str]]:
        """All keys in order, where each one's codes are, and the shards."""
        digests, places, shards = [], [], dict[str, int]()
        columns = ["key", "shard", *CODES_COLUMNS]
        for batch in sample_batches(self.store, self.release, None, columns, self.codec_name):
            digests.append(key_digests(batch["key"].to_pylist()))
            place = np.empty(batch.num_rows, [("shard", "i4"), ("offset", "i8"), ("bytes", "i4"), ("crc32", "u4")])
            place["shard"] = [shards.setdefault(shard, len(shards)) for shard in batch["shard"].to_pylist()]
            for name in ("offset", "bytes", "crc32"):
                place[name] = batch[f"codes_{name}"].to_numpy()
            places.append(place)
        keys, order = SortedKeys.of(digests)
        return keys, np.concatenate(places)[order] if places else np.empty(0), list(shards)

    def _locate(self, key: str) -> tuple[str, int, int, int]:
        """Shard, offset, length and CRC-32 of the codes of a sample."""
        with self._lock:
            keys, places, shards = self._index
        found = keys.find(key)
        if found is None:
            raise NotInCorpusError(f"release {self.name} of {self.uri} has no sample {key!r}")
        place = places[found]
        return shards[place["shard"]], int(place["offset"]), int(place["bytes"]), int(place["crc32"])


def _check_split(split: str | None) -> None:
    if split is not None and split not in SPLITS:
        raise NotInCorpusError(f"there is no split {split!r}", remedy=f"the splits are {', '.join(SPLITS)}")


def _schema(record: type[Record], columns: Sequence[str] | None) -> pa.Schema:
    """The Arrow schema of a table, or of some of its columns. Raises NotInCorpusError for a column that it does not have."""
    if columns is None:
        return arrow_schema(record)
    schema = arrow_schema(record, extras=True)
    if unknown := [name for name in columns if name not in schema.names]:
        raise NotInCorpusError(f"there is no column {unknown[0]!r}", remedy=f"the columns are {', '.join(schema.names)}")
    return pa.schema([schema.field(name) for name in columns])


def _reader(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(
        schema, (pa.RecordBatch.from_arrays([batch[name] for name in schema.names], schema=schema) for batch in batches)
    )
