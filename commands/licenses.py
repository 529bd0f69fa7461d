"""Licenses of what is installed and shipped: voxbeam's direct requirements, those behind them that are not permissive, and data.

Licenses come from the packages' metadata, and from `assets/licenses.toml` for what the metadata leaves out or gets wrong.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from rich.console import Console

from voxbeam.assets import LICENSES
from voxbeam.commands.terminal import new_table, print_table

KINDS = {
    "permissive": "use, change, pass on and sell; keep the notices (CC BY: name the source)",
    "weak copyleft": "the same, but changes to this library stay under its license, and users must be able to replace it",
    "copyleft": "free to run, also commercially; whoever passes on a program that contains it passes on the whole under the GPL",
    "non-commercial": "no commercial use of any kind",
    "proprietary": "run it under its maker's terms; pass it on only as these allow",
    "unclear": "nobody says: ask before you pass it on or use it commercially",
}
"""kind of license → what it means for redistribution and commercial use"""

_SPDX = {  # classifiers and free text → SPDX
    "Apache Software License": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
    "Other/Proprietary License": "proprietary",
}
_PATTERNS = (  # the first that matches names the kind
    (r"(?i)proprietary", "proprietary"),
    (r"\bNC\b|NonCommercial", "non-commercial"),
    (r"\bA?GPL", "copyleft"),
    (r"\bLGPL|\bMPL|\bEPL", "weak copyleft"),
    (r"MIT|BSD|Apache|ISC|PSF|Python|Zlib|Unlicense|CC0|public domain", "permissive"),
)


@dataclass(frozen=True)
class License:
    """One line of the table. `kind` is a key of KINDS."""

    what: str
    version: str
    type: str
    """package, code, weights, speech or data"""
    license: str
    kind: str
    where: str
    """extras that ask for it; of what is not a package, the configuration key or command that uses it"""
    note: str = ""

    @property
    def meaning(self) -> str:
        return KINDS[self.kind]


def licenses() -> list[License]:
    """Everything installed and shipped: first what is not permissive, then by type and name."""
    rows = [*_packages(), *(_row(entry) for entry in _hand_kept()["shipped"])]
    return sorted(rows, key=lambda row: (-list(KINDS).index(row.kind), row.type, row.what.lower()))


def fetched() -> list[License]:
    """Weights and speech that a configuration may fetch, and that do not come with voxbeam."""
    return [_row(entry) for entry in _hand_kept()["fetched"]]


def print_licenses(console: Console) -> None:
    """Both tables, and what each kind of license means."""
    for title, rows in (("Installed", licenses()), ("Fetched only if a configuration names it", fetched())):
        columns = ("what", "version", "license", "kind", "used by")
        table = new_table(*columns, left=columns)
        for row in rows:
            table.add_row(row.what, row.version, row.license, row.kind, row.where)
        print_table(console, title, table)
        console.print()
    for kind, meaning in KINDS.items():
        console.print(f"{kind}: {meaning}")
    console.print("Notes on single entries: docs/licences.md. This is a list, not legal advice.")


def package_row(name: str, where: str) -> License | None:
    """The row of a package, by its normalized name; None if it is not installed."""
    if not (package := _installed(name)):
        return None
    known = _hand_kept()["packages"].get(name, {})
    license = known.get("license") or license_of(package)
    return License(
        package.name, package.version, "package", license, known.get("kind") or kind_of(license), where, known.get("note", "")
    )


def license_of(package: Distribution) -> str:
    """What the metadata of a package says, as SPDX where that is clear; '' if it says nothing."""

    def values(field: str) -> list[str]:
        return package.metadata.get_all(field) or []

    if expression := values("License-Expression"):
        return expression[0]
    classifiers = [value.rsplit(" :: ", 1)[-1] for value in values("Classifier") if value.startswith("License ::")]
    stated = [name for name in classifiers if name != "OSI Approved"] or [
        text.strip().split("\n")[0] for text in values("License")
    ]
    return " OR ".join(_SPDX.get(name, name) for name in stated)


def kind_of(license: str) -> str:
    """Kind of a license, by its name. The strictest part counts, except that a choice (`OR`) is as free as its freest part."""
    kinds = [next((kind for pattern, kind in _PATTERNS if re.search(pattern, part)), "unclear") for part in license.split(" OR ")]
    return min(kinds, key=list(KINDS).index)


def _packages() -> Iterator[License]:
    """Direct requirements, and of those behind them the ones that are not permissive."""
    used_by = _direct()
    for name in sorted(_behind(used_by)):
        row = package_row(name, ", ".join(sorted(used_by.get(name, ()))) or "behind others")
        if row and (name in used_by or row.kind != "permissive"):
            yield row


def _direct() -> dict[str, set[str]]:
    """Name of each direct requirement → the extras that ask for it; `core` for those that every installation has."""
    used_by: dict[str, set[str]] = {}
    for line in distribution("voxbeam").requires or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if (name := _normalized(line)) != "voxbeam":
            used_by.setdefault(name, set()).add(extra[1] if extra else "core")
    return used_by


def _behind(names: Mapping[str, object]) -> set[str]:
    """The names, and whatever installed packages require without an extra being asked for, and so on."""
    waiting, seen = list(names), set[str]()
    while waiting:
        if (name := waiting.pop()) in seen:
            continue
        seen.add(name)
        package = _installed(name)
        requires = (package.requires or ()) if package else ()
        waiting += [_normalized(line) for line in requires if "extra ==" not in line or name == "cuda-toolkit"]
    return seen


@cache
def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _normalized(requirement: str) -> str:
    """The name in a requirement such as `pyannote.audio>=4; extra == "x"`, as PyPI normalizes it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement.strip())[0]).lower()


@cache
def _hand_kept() -> dict[str, Any]:
    return tomllib.loads(LICENSES.read_text(encoding="utf-8"))


def _row(entry: Mapping[str, str]) -> License:
    return License(**{"version": "", "note": "", **entry})
