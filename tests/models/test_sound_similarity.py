"""Sound similarity of what codes hold: copies of real speech are one recording, other speech is not."""

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.sound_similarity import SAME_SOUND, sound_correlation
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE

SECONDS = 5


@pytest.fixture(scope="module", params=[22_050, 8_000])
def decoded(request: pytest.FixtureRequest, speech: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Five pieces of speech of 5 s, and each once more: softer, 30 ms later, and by another rate, 8 kHz as by telephone.

    Nobody talks in the first 6 s, and of silence the codec makes other sounds.
    """
    pin_threads()
    wave_S = soxr.resample(speech, ASR_RATE, CODEC_RATE).astype(np.float32)
    pieces = [wave_S[start * CODEC_RATE : (start + SECONDS) * CODEC_RATE] for start in range(5, 30, SECONDS)]
    pause_S = np.zeros(CODEC_RATE * 30 // 1000, np.float32)
    again = [soxr.resample(soxr.resample(p, CODEC_RATE, request.param), request.param, CODEC_RATE) for p in pieces]
    codec = load_codec(EMBEDDED_WEIGHTS)
    copies = [np.concatenate([pause_S, 0.6 * wave_S]).astype(np.float32) for wave_S in again]
    codes = codec.encode([*pieces, *copies])
    return [soxr.resample(codec.decode([one])[0], CODEC_RATE, ASR_RATE).astype(np.float32) for one in codes]


def test_copies_are_one_recording_and_other_speech_is_not(decoded: list[NDArray[np.float32]]) -> None:
    alike = np.array([[sound_correlation(one, other) for other in decoded[5:]] for one in decoded[:5]])
    assert np.diag(alike).min() >= SAME_SOUND and alike[~np.eye(5, dtype=bool)].max() < 0.6
