"""A release of real speech, with a further codec, that all tests of exports read, and where they write."""

from pathlib import Path

import datasets
import pytest

from voxbeam.corpus import Corpus

from tests.spoken_release import spoken_release


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return spoken_release(tmp_path_factory.mktemp("spoken"), moved=True)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def no_shared_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
