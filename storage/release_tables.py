"""Release tables: the tables of a release in DuckDB, from a folder or a bucket.

Views: `samples`, `rejected`, `recordings`, `shards`, `voices` and `identities` as in docs/columns.md, and `segments`, which is
samples and rejected together, with `accepted`. A bucket's Parquet files are copied to a temporary folder first.
"""

import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from voxbeam.schemas.columns import Record, arrow_schema, check_schema, extra_columns
from voxbeam.schemas.errors import QueryError, StorageError
from voxbeam.schemas.manifest import TABLES
from voxbeam.schemas.release import Release, ReleaseFile
from voxbeam.storage.local_copies import sha256_of
from voxbeam.storage.releases import changed_file_error
from voxbeam.storage.store import Store

SEGMENTS = "segments"
MEMORY_MB = 2000
"""what DuckDB may take before it writes to a temporary folder; Python and Arrow come on top"""
_RUNS_ANY_STATEMENT = "json_execute_serialized_sql"
"""the function of DuckDB within a query that runs another statement, whatever that does"""
_PATTERN = re.compile(r"[\[*?]")
"""what DuckDB reads as a pattern of file names"""
_SEGMENTS = """
    SELECT true AS accepted, [] :: VARCHAR[] AS reasons, NULL :: VARCHAR AS rejected_by, * FROM {samples}
    UNION ALL BY NAME SELECT false AS accepted, * FROM {rejected}
"""


class ReleaseTables:
    """A DuckDB connection with the tables of a release as views. A context manager; one thread at a time.

    A table is fetched and checked when a query first names it. Queries raise StorageError for a file that is not the one that
    the release names, SchemaError for one of another version.
    """

    def __init__(self, store: Store, release: Release) -> None:
        self.store, self.release = store, release
        self._open = ExitStack()
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="voxbeam-tables-"))
        # Extensions would be downloaded; what is needed is built in.
        self.connection = duckdb.connect(
            config={
                "memory_limit": f"{MEMORY_MB}MB",
                "temp_directory": folder,
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "lock_configuration": "true",  # or a query could begin a log in a file of its choice
            }
        )
        self._open.callback(self.connection.close)
        self._earlier = False
        """whether a file of the table that is made a view is of an earlier version"""
        self._missing: dict[str, tuple[Release, str]] = {}
        self.add(release)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and deletes temporary files."""
        self._open.close()

    def add(self, release: Release, prefix: str = "") -> None:
        """Adds the tables of a release under their names with a prefix, e.g. `previous_samples`."""
        self._missing |= {f"{prefix}{name}": (release, name) for name in (*TABLES, SEGMENTS)}

    def rows(self, query: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows of a query as dicts."""
        return [dict(row) for row in self.arrow(query, parameters).to_pylist()]

    def row(self, query: str, parameters: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The only row of a query that has one, such as one of sums."""
        (row,) = self.rows(query, parameters)
        return row

    def answer(self, query: str) -> pa.Table:
        """The result of a user's query as an Arrow table. Raises QueryError for one that does not only read."""
        # The type of a statement does not tell: COPY and INSERT may stand below WITH. Within another query DuckDB refuses them.
        text = query.replace("'", "''")
        (plan,) = self.rows(f"EXPLAIN (FORMAT json) SELECT * FROM query('{text}')")
        if _RUNS_ANY_STATEMENT in str(plan).lower():
            raise QueryError(f"{_RUNS_ANY_STATEMENT} may write", remedy="write the query itself")
        return self.arrow(query)

    def arrow(self, query: str, parameters: Mapping[str, object] | None = None) -> pa.Table:
        """The result of a query as an Arrow table. Raises QueryError for SQL that the tables cannot answer."""
        for view in [view for view in self._missing if re.search(rf"\b{view}\b", query, re.IGNORECASE)]:
            self._ensure(view)
        try:
            result = self.connection.sql(query, params=dict(parameters) if parameters else None)
            return pa.table({}) if result is None else result.to_arrow_table()
        except duckdb.OutOfMemoryException as error:
            raise StorageError(
                f"the query needs more than {MEMORY_MB} MB: {_first_line(error)}", remedy="ask for fewer rows or columns"
            ) from error
        except duckdb.Error as error:
            raise QueryError(
                f"the query failed: {_first_line(error)}",
                remedy="write one SELECT, which only reads; "
                f"the tables are {', '.join((*TABLES, SEGMENTS))}; docs/columns.md has their columns",
            ) from error

    def _ensure(self, view: str) -> None:
        """Makes a view that is not there yet."""
        if view not in self._missing:
            return
        release, name = self._missing[view]
        if name == SEGMENTS:
            parts = {part: f"{view.removesuffix(SEGMENTS)}{part}" for part in ("samples", "rejected")}
            for part in parts.values():
                self._ensure(part)
            self.connection.execute(f"CREATE VIEW {view} AS {_SEGMENTS.format(**parts)}")
        else:
            self._make_table_view(release, name, view)
        del self._missing[view]

    def _make_table_view(self, release: Release, name: str, view: str) -> None:
        record = TABLES[name]
        files = sorted(release.files_of_kind(name), key=lambda file: file.path)
        self._earlier = False
        paths = [path for file in files for path in self._local(file, record)]
        if not paths:
            self.connection.register(view, arrow_schema(record).empty_table())
            return
        listed = ", ".join(f"'{_escape(path)}'" for path in paths)
        rows = f"SELECT * FROM read_parquet([{listed}], union_by_name = {str(self._earlier).lower()})"
        if self._earlier:  # columns that came later are null
            self.connection.register(f"{view}_columns", arrow_schema(record).empty_table())
            rows += f" UNION ALL BY NAME SELECT * FROM {view}_columns"
        self.connection.execute(f"CREATE VIEW {view} AS {rows}")

    def _local(self, file: ReleaseFile, record: type[Record]) -> Iterable[Path]:
        """The file, whole and of its schema, as a local one; nothing for one without rows."""
        if not file.rows:
            return ()
        local = self._open.enter_context(self.store.local_copy(file.path))
        if sha256_of(local) != file.sha256:
            raise changed_file_error(self.store, file)
        schema = pq.read_schema(local)
        check_schema(record, schema)
        self._earlier |= [name for name in schema.names if name not in extra_columns(record)] != arrow_schema(record).names
        return (local,)


def _escape(path: Path) -> str:
    """A path as text of SQL that is no pattern of file names."""
    return _PATTERN.sub(lambda match: f"[{match[0]}]", str(path)).replace("'", "''")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:500]
