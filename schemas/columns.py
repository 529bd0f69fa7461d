"""Columns: defines the rows of a table once, as a dataclass, and derives its Arrow schema.

A record is a frozen dataclass whose fields are made by `column(...)`, which adds Arrow type, documentation and unit to the
Python type. The schema, the validation and docs/columns.md all come from it, so they cannot differ.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, field, fields
from functools import cache
from typing import Any, ClassVar, Protocol, Self, TypeVar

import pyarrow as pa

from voxbeam.schemas.errors import SchemaError

R = TypeVar("R", bound="Record")
Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


class Record(Protocol):
    """A row of a table."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    VERSION: ClassVar[int]
    """raised with every change of its columns; a record whose later versions only added columns that may be null states OLDEST,
    the earliest version that is still read"""

    def check(self) -> Self:
        """Returns the record if its values are valid; raises SchemaError otherwise."""
        ...


def column(arrow_type: pa.DataType, doc: str, *, unit: str = "", default: Any = MISSING, extra: bool = False) -> Any:
    """A field of a record. A field with the default None may be null; a table has an `extra` one only if a row has a value."""
    metadata = {"doc": doc, "type": arrow_type, "unit": unit, "nullable": default is None, "extra": extra}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


@cache
def arrow_schema(record: type[Record], extras: bool = False) -> pa.Schema:
    """The Arrow schema of a record, without or with its extra columns.

    Its metadata contains name and version, and for each column documentation and unit.
    """
    arrow_fields = [
        pa.field(
            f.name,
            f.metadata["type"],
            nullable=f.metadata["nullable"],
            metadata={"doc": f.metadata["doc"], "unit": f.metadata["unit"]},
        )
        for f in fields(record)
        if extras or not f.metadata["extra"]
    ]
    return pa.schema(arrow_fields, metadata={"record": record.__name__, "version": str(record.VERSION)})


def to_table(record: type[Record], rows: Iterable[Record]) -> pa.Table:
    """Rows as an Arrow table of the record's schema. Raises SchemaError if a row is not valid."""
    return rows_to_table(record, [vars(row.check()) for row in rows])


def rows_to_table(record: type[Record], rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as dicts, as an Arrow table of the record's schema, with the extra columns that they have values of."""
    extras = [name for name in extra_columns(record) if any(row.get(name) is not None for row in rows)]
    return pa.Table.from_pylist(rows, schema=_with(record, extras))


@cache
def extra_columns(record: type[Record]) -> tuple[str, ...]:
    """The names of a record's extra columns."""
    return tuple(f.name for f in fields(record) if f.metadata["extra"])


def _with(record: type[Record], extras: Iterable[str]) -> pa.Schema:
    """The schema of a record with some of its extra columns."""
    schema, whole = arrow_schema(record), arrow_schema(record, extras=True)
    return pa.schema([*schema, *(whole.field(name) for name in extras)], metadata=schema.metadata)


def check_schema(record: type[Record], schema: pa.Schema) -> None:
    """Raises SchemaError unless a table has the record's version, columns and types, with or without extra columns."""
    expected = _with(record, (name for name in extra_columns(record) if name in schema.names))
    found = (schema.metadata or {}).get(b"version", b"?").decode(errors="replace")
    if found in map(str, range(getattr(record, "OLDEST", record.VERSION), record.VERSION)):
        expected = pa.schema([f for f in expected if f.name in schema.names or not f.nullable])
    elif found != str(record.VERSION):
        raise SchemaError(
            f"{record.__name__} has schema version {found}, this voxbeam reads {record.VERSION}",
            remedy="build the corpus again, into a new output",
        )
    if not schema.equals(expected):
        wrong = [f"{f.name}: {f.type}" for f in expected if f.name not in schema.names or schema.field(f.name) != f]
        what = f"in the columns {', '.join(wrong)}" if wrong else "in the order of columns"
        raise SchemaError(f"{record.__name__} differs from its schema {what}", remedy="build the corpus again, into a new output")


def completed(record: type[Record], table: Rows, columns: Sequence[str] | None = None) -> Rows:
    """Rows of a record, or some of its columns, after `check_schema`: what came with a later version is null.

    Without `columns`, they have the extra columns of the table.
    """
    schema = arrow_schema(record, extras=True)
    there = set(table.schema.names)
    every = [name for name in schema.names if name in there or name not in extra_columns(record)]
    names = every if columns is None else list(columns)
    if table.schema.names == names:
        return table
    arrays = [table[name] if name in table.schema.names else pa.nulls(len(table), schema.field(name).type) for name in names]
    return type(table).from_arrays(arrays, schema=pa.schema([schema.field(name) for name in names], metadata=schema.metadata))


def from_table(record: type[R], table: pa.Table) -> Iterator[R]:
    """The rows of a table as records."""
    for row in table.to_pylist():
        yield record(**row)


def require(condition: bool, message: str) -> None:
    """Raises SchemaError with the message if the condition is false."""
    if not condition:
        raise SchemaError(message)
