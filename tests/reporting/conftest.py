"""The corpus that the tests of reports share."""

import pytest

from voxbeam.corpus import Corpus


@pytest.fixture(scope="session")
def corpus(corpus_uri: str) -> Corpus:
    return Corpus(corpus_uri)
