"""A corpus of three people, with a ledger and a cache of its own, for each test of takedowns."""

import shutil
from pathlib import Path

import pytest

from voxbeam.storage.store import Store

from tests.pipeline.told_corpus import build_told


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with one release, in `corpus`, beside its listing."""
    folder = tmp_path_factory.mktemp("told")
    build_told(folder)
    return folder


@pytest.fixture
def folder(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with a ledger and a cache of its own."""
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("VOXBEAM_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    shutil.copytree(told / "corpus", tmp_path / "corpus")
    shutil.copy(told / "listing.parquet", tmp_path)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(str(folder / "corpus"))
