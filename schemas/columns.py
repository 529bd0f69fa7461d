"""Columns: how a typed record says what each of its fields means, and how it becomes an Arrow table.

A record is a frozen dataclass whose fields are made with `column(...)`: the documentation, the unit and the Arrow type stand
beside the Python type, so the manifest's schema, its documentation (`docs/columns.md`) and its validator cannot drift apart.
"""

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, field, fields
from typing import Any, ClassVar, Protocol, Self, TypeVar

import pyarrow as pa

from voxbeam.schemas.errors import SchemaError

R = TypeVar("R", bound="Record")


class Record(Protocol):
    """What every noun of `schemas/` offers: its version, and a check of its own values."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    VERSION: ClassVar[int]

    def check(self) -> Self:
        """Returns the record when its values are possible; raises SchemaError otherwise."""
        ...


def column(doc: str, type: pa.DataType, *, unit: str = "", default: Any = MISSING) -> Any:
    """One field of a record: documentation, Arrow type, unit. A field whose default is None may be null."""
    metadata = {"doc": doc, "type": type, "unit": unit, "nullable": default is None}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def arrow_schema(record: type[Record]) -> pa.Schema:
    """The Arrow schema of a record; the version and the documentation travel in its metadata."""
    arrow_fields = [
        pa.field(
            f.name,
            f.metadata["type"],
            nullable=f.metadata["nullable"],
            metadata={"doc": f.metadata["doc"], "unit": f.metadata["unit"]},
        )
        for f in fields(record)
    ]
    return pa.schema(arrow_fields, metadata={"record": record.__name__, "version": str(record.VERSION)})


def to_table(record: type[Record], rows: Iterable[Record]) -> pa.Table:
    """Rows as an Arrow table with exactly the record's schema. Every row is checked first."""
    return pa.Table.from_pylist([vars(row.check()) for row in rows], schema=arrow_schema(record))


def check_schema(record: type[Record], schema: pa.Schema) -> None:
    """Raises SchemaError unless a table's schema has the record's columns, types and version."""
    expected = arrow_schema(record)
    found = (schema.metadata or {}).get(b"version", b"?").decode()
    if found != str(record.VERSION):
        raise SchemaError(
            f"{record.__name__} has schema version {found}, this voxbeam reads {record.VERSION}: build the corpus anew"
        )
    if not schema.equals(expected):
        wrong = [f"{f.name}: {f.type}" for f in expected if f.name not in schema.names or schema.field(f.name) != f]
        raise SchemaError(f"{record.__name__} differs from its schema in {wrong or 'the order of columns'}; rebuild the manifest")


def from_table(record: type[R], table: pa.Table) -> Iterator[R]:
    """The rows of a table as records."""
    for row in table.to_pylist():
        yield record(**row)


def require(condition: bool, message: str) -> None:
    """Raises SchemaError with the message unless the condition holds."""
    if not condition:
        raise SchemaError(message)
