"""The trace of the embedded codec: found in its copies and in made speech, not in recordings; and what comes of it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from voxbeam.assets import DEMO
from voxbeam.commands.exit_status import WRONG
from voxbeam.commands.main import main
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.codec_trace import features
from voxbeam.safety.codec_trace import AT_SPEEDS, REFUSED, codec_score, require_no_codec, search_speeds, speech_windows
from voxbeam.schemas.errors import ConsentError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.recording import Recording

PERSON = next(iter((DEMO / "michael").rglob("*.flac")))


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return Recording.read(PERSON, 9).wave_S


@pytest.fixture(scope="module")
def copy(speech: np.ndarray) -> np.ndarray:
    codec = load_codec(EMBEDDED_WEIGHTS)
    return codec.decode([codec.encode([speech])[0]])[0]


def test_windows_hold_speech_and_nothing_is_judged_without_it(speech: np.ndarray) -> None:
    silence = np.zeros(5 * CODEC_RATE, np.float32)
    for nothing in (silence, silence[:10], speech[: CODEC_RATE // 2]):
        assert speech_windows(nothing, CODEC_RATE, 9) == [] and codec_score(nothing) is None
        require_no_codec(nothing)
    found = speech_windows(np.concatenate([silence, speech, silence]), CODEC_RATE, 3)
    assert len(found) == 3 and {len(window) for window in found} == {4 * CODEC_RATE}
    assert all((window**2).mean() > (speech**2).mean() / 1000 for window in found)
    (short,) = speech_windows(np.concatenate([silence, speech[: 2 * CODEC_RATE], silence]), CODEC_RATE, 3)
    assert 1.5 * CODEC_RATE <= len(short) <= 2 * CODEC_RATE


def test_level_does_not_count(speech: np.ndarray) -> None:
    window = speech[None, : 4 * CODEC_RATE]
    whole, soft = features(window), features(window * np.float32(0.125))
    assert whole.shape == (1, 980) and np.isfinite(whole).all() and np.abs(whole - soft).mean() < 0.001


@pytest.mark.slow
def test_the_codec_leaves_a_trace_and_a_recording_has_none(speech: np.ndarray, copy: np.ndarray) -> None:
    heard, copied = codec_score(speech), codec_score(copy)
    assert heard is not None and copied is not None and heard < 0 < REFUSED < copied
    require_no_codec(speech)
    with pytest.raises(ConsentError, match="passed through voxbeam's codec"):
        require_no_codec(copy)


@pytest.mark.slow
@pytest.mark.parametrize("speed", [1.02, 0.955])
def test_the_trace_is_found_at_the_speed_of_another_tape(
    tmp_path: Path, speech: np.ndarray, copy: np.ndarray, speed: float, capsys: pytest.CaptureFixture[str]
) -> None:
    played, own = (soxr.resample(wave_S[:120_000], CODEC_RATE * speed, CODEC_RATE) for wave_S in (copy, speech))
    unsearched, searched = codec_score(played), search_speeds(played)
    assert unsearched is not None and unsearched < REFUSED and searched is not None and searched[0] > AT_SPEEDS
    assert abs(searched[1] - speed) < 0.006 and (search_speeds(own) or (0.0, 0.0))[0] < 0
    with pytest.raises(ConsentError, match=f"played at {searched[1]:g} times its speed"):
        require_no_codec(played)
    sf.write(path := tmp_path / "played.wav", played, CODEC_RATE)
    assert main(["detect", str(path), "--ledger", str(tmp_path / "none")]) == WRONG
    assert "times its speed since: the trace; score +" in capsys.readouterr().out


@pytest.mark.slow
def test_detect_names_the_trace_where_there_is_no_mark(
    tmp_path: Path, copy: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(path := tmp_path / "copy.wav", copy[:48_000], CODEC_RATE)
    assert main(["detect", str(path), "--ledger", str(tmp_path / "none")]) == WRONG
    shown = capsys.readouterr().out
    assert "the trace of voxbeam's codec; score +" in shown and "no watermark was found" in shown
