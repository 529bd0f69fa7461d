"""Which samples of a release a run learns from: an SQL condition on the columns of one row of `samples`.

The condition must give the same answer for a row wherever and whenever it is asked: what is random, depends on the clock or looks
at other rows is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.manifest import SampleRow

COLUMNS = tuple(arrow_schema(SampleRow).names)
_ROW = "row of the batch"
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


class SampleFilter:
    """A condition, such as `license = 'CC-BY-4.0' AND speaker NOT IN ('x', 'y')`.

    A row for which it is null is left out. Raises ConfigError for one that cannot be used.
    """

    def __init__(self, condition: str) -> None:
        self.condition = condition
        # Nothing but the rows is within its reach: no file, no network, no extension.
        self._connection = duckdb.connect(config={"enable_external_access": "false", "threads": "1"})
        code = _code(condition)
        words = {word.lower() for word in _WORD.findall(code)}
        self.columns = [name for name in COLUMNS if name in words]
        changing = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        refused = words & {"select", "from", "ago", *(row[0] for row in self._connection.execute(changing).fetchall())}
        refused |= {word for word in words if word.startswith(("current_", "localtime", "pg_"))}
        if refused or ";" in code:
            raise self._error(f"{', '.join(sorted(refused)) or ';'} has no use in it")
        if not self.columns:
            raise self._error("it names no column")
        self._rows(pa.RecordBatch.from_pylist([], schema=_schema(self.columns)))

    def keep(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows for which it holds, in their order."""
        for batch in batches:
            yield batch.take(self._rows(batch.select(self.columns)))

    def _rows(self, batch: pa.RecordBatch) -> pa.Array:
        table = pa.Table.from_batches([batch]).append_column(_ROW, pa.array(range(len(batch)), pa.int64()))
        self._connection.register("one_batch", table)
        try:
            # below WHERE, SQL has neither aggregates nor windows, which look at other rows
            found: pa.Table = self._connection.execute(
                f'SELECT "{_ROW}" FROM one_batch WHERE ({self.condition}\n)'
            ).to_arrow_table()
        except duckdb.Error as error:
            raise self._error(str(error).strip().partition("\n")[0]) from error
        finally:
            self._connection.unregister("one_batch")
        return found[_ROW].combine_chunks().sort()

    def _error(self, message: str) -> ConfigError:
        return ConfigError(
            f"data_filter {self.condition!r} cannot be used: {message}",
            remedy="write a condition on the columns of `samples` (docs/columns.md), e.g. language = 'en' AND snr_db > 20",
        )


def _code(condition: str) -> str:
    """A condition without its texts and comments, in which every word is harmless."""
    text, tokens = condition.encode(), duckdb.tokenize(condition)
    ends = [start for start, _ in tokens[1:]] + [len(text)]
    silent = (duckdb.token_type.string_const, duckdb.token_type.comment)
    return " ".join(text[start:end].decode() for (start, kind), end in zip(tokens, ends, strict=True) if kind not in silent)


def _schema(columns: Sequence[str]) -> pa.Schema:
    schema = arrow_schema(SampleRow)
    return pa.schema([schema.field(name) for name in columns])
