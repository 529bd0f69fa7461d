"""A release of real speech, with a further codec, that all tests of exports read."""

import pytest

from voxbeam.corpus import Corpus

from tests.spoken_release import spoken_release


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return spoken_release(tmp_path_factory.mktemp("spoken"), moved=True)
