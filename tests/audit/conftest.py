"""A release of real speech to listen to, and a key of the test's own."""

from pathlib import Path

import pytest

from voxbeam.corpus import Corpus

from tests.spoken_release import spoken_release


@pytest.fixture(scope="session")
def spoken_original(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return spoken_release(tmp_path_factory.mktemp("audited"), per_recording=6)


@pytest.fixture
def spoken(spoken_original: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """A copy that may be audited, by a user without a key."""
    import shutil

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    shutil.copytree(spoken_original.store.root, tmp_path / "corpus")
    return Corpus(str(tmp_path / "corpus"))
