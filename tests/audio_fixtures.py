"""Real speech for the tests of diarize and cut: what packages ship, and ../shared/data where it is present."""

from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

SHARED = Path(__file__).parents[2] / "shared" / "data"
SAMPLE = Path(str(distribution("pyannote.audio").locate_file("pyannote/audio/sample/sample.wav")))
"""thirty seconds of a conversation, 16 kHz; found without importing the package, which takes seconds"""


def read(path: Path) -> NDArray[np.float32]:
    pcm, rate = sf.read(path, dtype="float32")
    assert rate == 16_000
    return pcm[: len(pcm) // 16 * 16]


def sample() -> NDArray[np.float32]:
    """Thirty seconds of two people talking."""
    return read(SAMPLE)


def reader(speaker: str, most: int = 10) -> list[NDArray[np.float32]]:
    """Consecutive utterances of one LibriSpeech reader."""
    files = sorted((SHARED / "librispeech").rglob(f"{speaker}-*.flac"))
    if not files:
        pytest.skip("needs ../shared/data")
    return [read(file) for file in files[:most]]


def meetings() -> list[Path]:
    """One-minute AMI clips."""
    files = sorted((SHARED / "ami").glob("*.wav"))
    if not files:
        pytest.skip("needs ../shared/data")
    return files
