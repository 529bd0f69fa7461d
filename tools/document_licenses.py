"""Writes the tables of docs/licences.md from what is installed: python -m tools.document_licenses.

Run it in the environment of `make test`, which has every extra.
"""

import re
from pathlib import Path

from voxbeam.commands.licenses import KINDS, License, fetched, licenses, package_row

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
HEAD = "| what | version | license | kind | used by | note |\n|---|---|---|---|---|---|\n"


def for_tests() -> list[License]:
    """What the tests and the linters need beyond the extras, by requirements/dev.in."""
    lines = (ROOT / "requirements" / "dev.in").read_text(encoding="utf-8").splitlines()
    names = [re.split("[=<>]", line)[0].replace(".", "-").lower() for line in lines if line and not line.startswith("#")]
    return [row for name in names if (row := package_row(name, "tests"))]


def table(rows: list[License]) -> str:
    """The rows as Markdown."""
    return HEAD + "".join(f"| {r.what} | {r.version} | {r.license} | {r.kind} | {r.where} | {r.note} |\n" for r in rows)


def tables() -> str:
    """Everything between the markers of the page."""
    rows = licenses()
    parts = [
        ("Packages that are not permissive", [r for r in rows if r.type == "package" and r.kind != "permissive"]),
        ("Other direct requirements", [r for r in rows if r.type == "package" and r.kind == "permissive"]),
        ("Shipped with voxbeam", [r for r in rows if r.type != "package"]),
        ("Fetched only if a configuration or a command names it", fetched()),
        ("Only for tests", for_tests()),
    ]
    kinds = "| kind | what it means |\n|---|---|\n" + "".join(f"| {kind} | {meaning} |\n" for kind, meaning in KINDS.items())
    return kinds + "".join(f"\n### {title}\n\n{table(part)}" for title, part in parts)


def main() -> None:
    before, _, after = re.split(r"(?s)(?<=<!-- tables -->\n)(.*)(?=<!-- end -->)", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(f"{before}{tables()}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
