"""Writes docs/columns.md: every column of every table of a release. `python -m voxbeam.schemas.document`."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow, ShardRow

TABLES: dict[str, type[Any]] = {
    "samples": SampleRow,
    "rejected": RejectedRow,
    "recordings": RecordingRow,
    "shards": ShardRow,
}


def columns_markdown() -> str:
    """The document's text."""
    parts = ["# Columns of the manifests\n\nMade by `python -m voxbeam.schemas.document`; times are whole milliseconds.\n"]
    for table, record in TABLES.items():
        parts.append(
            f"\n## {table} (version {record.VERSION})\n\n{record.__doc__}\n\n"
            "| column | type | unit | null | meaning |\n|---|---|---|---|---|\n"
        )
        for f in fields(record):
            m = f.metadata
            parts.append(f"| `{f.name}` | {m['type']} | {m['unit']} | {'yes' if m['nullable'] else ''} | {m['doc']} |\n")
    return "".join(parts)


if __name__ == "__main__":
    Path("docs/columns.md").write_text(columns_markdown())
