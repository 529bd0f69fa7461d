"""The watermark: read back from what was marked and from what was done to it, and never from what was not marked."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from voxbeam.safety import watermark
from voxbeam.safety.mark_code import SYMBOLS, VALUES, decode, encode
from voxbeam.safety.watermark import MIN_SNR_DB, MORE_SPEEDS, Marker, mark_sound, read_mark
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording

from benchmarks.watermark import Attack, crop, noise, stretch, telephone, through

PAYLOAD = 0xDEADBEEF
DEMO = Path(__file__).resolve().parents[2] / "assets" / "demo"


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    """Five seconds of a reader."""
    (path,) = (DEMO / "austen_reader").rglob("*.flac")
    return Recording.read(path, 6).wave_S[CODEC_RATE:]


@pytest.fixture(scope="module")
def marked(voice: np.ndarray) -> np.ndarray:
    return mark_sound(voice, PAYLOAD)


@pytest.mark.parametrize("payload", [0, 1, PAYLOAD, (1 << 32) - 1])
def test_any_four_symbols_give_all_bits(payload: int) -> None:
    word = encode(payload)
    for lost in itertools.combinations(range(SYMBOLS), 2):
        scores = np.zeros((SYMBOLS, VALUES))
        for symbol, value in enumerate(word):
            scores[symbol, value] = 0 if symbol in lost else 5
        scores[list(lost), 7] = 2  # noise there says something else
        assert decode(scores)[0] == payload
    with pytest.raises(ValueError, match="32 bits"):
        encode(1 << 32)


def test_a_mark_is_read_back_and_is_quiet(voice: np.ndarray, marked: np.ndarray) -> None:
    mark = read_mark(marked)
    assert mark is not None and mark.payload == PAYLOAD and mark.false_alarm < 1e-30
    assert len(marked) == len(voice) and marked.dtype == np.float32
    assert 10 * np.log10((voice**2).sum() / ((marked - voice) ** 2).sum()) >= MIN_SNR_DB
    np.testing.assert_array_equal(marked, mark_sound(voice, PAYLOAD))


def test_what_is_not_marked_has_no_mark(voice: np.ndarray, marked: np.ndarray) -> None:
    for name in ("kennedy", "michael", "two_speakers"):
        (path,) = (DEMO / name).rglob("*.flac")
        assert read_mark(Recording.read(path, 8).wave_S) is None
    assert read_mark(voice, speeds=MORE_SPEEDS[::5]) is None
    assert read_mark(marked, b"another key") is None
    for nothing in (np.zeros(0, np.float32), np.zeros(100, np.float32), np.zeros(5 * CODEC_RATE, np.float32)):
        assert read_mark(nothing) is None and len(mark_sound(nothing, 1)) == len(nothing)


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("MP3", through("libmp3lame", 64)),
        ("AAC", through("aac", 48)),
        ("Opus", through("libopus", 24, 48_000)),
        ("telephone", telephone),
        ("noise", noise(20)),
        ("cut", crop(2)),
        ("gain", lambda wave_S: np.clip(wave_S * np.float32(4), -1, 1)),
        ("slower", stretch(1 / 1.05)),
    ],
)
def test_a_mark_survives(marked: np.ndarray, name: str, attack: Attack) -> None:
    """One clip of what docs/safety.md measures on many."""
    attacked = attack(marked)
    mark = read_mark(attacked) or read_mark(attacked, speeds=MORE_SPEEDS)
    assert mark is not None and mark.payload == PAYLOAD


def test_a_marked_part_is_found_in_a_long_sound(voice: np.ndarray, marked: np.ndarray) -> None:
    long = np.concatenate([voice, voice[::-1], voice, marked, voice])
    mark = read_mark(long)
    assert mark is not None and mark.payload == PAYLOAD and 8 <= mark.start_s <= 20


@pytest.mark.parametrize("chunk", [100, 1024, 12_160])
def test_chunks_join_to_a_marked_sound_of_the_same_length(voice: np.ndarray, chunk: int) -> None:
    marker = Marker(PAYLOAD)
    pieces = [marker.feed(voice[start : start + chunk]) for start in range(0, len(voice), chunk)]
    late = len(voice) - sum(map(len, pieces))
    joined = np.concatenate([*pieces, marker.finish()])
    assert 0 < late <= 2 * watermark.WINDOW and len(joined) == len(voice)
    mark = read_mark(joined)
    assert mark is not None and mark.payload == PAYLOAD
    assert 10 * np.log10((voice**2).sum() / ((joined - voice) ** 2).sum()) > MIN_SNR_DB - 2


def test_scores_of_unmarked_sound_are_those_of_random_signs(voice: np.ndarray) -> None:
    """The bound on false alarms rests on this: over keys, the score of one word at one place is a sum of random signs."""
    energy_NF = np.abs(watermark._spectra(voice.astype(np.float64))) ** 2 @ watermark._band_matrix()
    folded_TF = watermark._fold(energy_NF, 0, 1.0)
    owner_TF = watermark.symbol_of_tile(watermark.PERIOD, watermark.BANDS)
    scores = []
    for number in range(20):
        signs = watermark._signs_by_symbol(number.to_bytes(4, "big"))
        values = [folded_TF[owner_TF == symbol] for symbol in range(SYMBOLS)]
        scores.append(sum(v @ s / np.linalg.norm(v) for v, s in zip(values, signs, strict=True)) / np.sqrt(SYMBOLS))
    found = np.concatenate(scores)  # 20 keys × 256 words
    assert abs(found.mean()) < 0.06 and 0.96 < found.std() < 1.04 and np.abs(found).max() < 5
