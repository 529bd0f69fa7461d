"""Code similarity: copies of real speech are one recording, other speech is not."""

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from voxbeam.models.code_similarity import SAME_SOUND, code_similarity
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

SECONDS = 5


@pytest.fixture(scope="module")
def codes(speech: NDArray[np.float32]) -> list[NDArray[np.int16]]:
    """Five pieces of 5 s, and each once more: softer, 30 ms later, and resampled on the way."""
    pin_threads()
    wave_S = soxr.resample(speech, ASR_RATE, CODEC_RATE).astype(np.float32)
    pieces = [wave_S[start * CODEC_RATE : (start + SECONDS) * CODEC_RATE] for start in range(0, 25, SECONDS)]
    pause_S = np.zeros(CODEC_RATE * 30 // 1000, np.float32)
    copies = [np.concatenate([pause_S, 0.6 * soxr.resample(soxr.resample(p, 24_000, 22_050), 22_050, 24_000)]) for p in pieces]
    return load_codec(EMBEDDED_WEIGHTS).encode([*pieces, *(copy.astype(np.float32) for copy in copies)])


def test_copies_are_alike_and_other_speech_is_not(codes: list[NDArray[np.int16]]) -> None:
    alike = np.array([[code_similarity(one, other) for other in codes[5:]] for one in codes[:5]])
    assert np.diag(alike).min() >= SAME_SOUND and alike[~np.eye(5, dtype=bool)].max() < SAME_SOUND


def test_a_piece_of_it_lies_on_the_whole(codes: list[NDArray[np.int16]]) -> None:
    assert code_similarity(codes[0][:, 100:250], codes[0]) == code_similarity(codes[0], codes[0][:, 100:250]) == 1.0
    assert code_similarity(codes[0], codes[0][:, :0]) == 0.0
