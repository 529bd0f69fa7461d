"""From a prompt and a text to sound: the real codec, phones, recognizer and speaker encoder, and a model that knows nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from voxbeam.commands.main import main
from voxbeam.models.codec import Codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.models.phones import load_phone_set
from voxbeam.schemas.errors import CheckpointError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.synthesizer import Prompt, Voice, decode_in_chunks
from voxbeam.trainer.training import Trainer

from tests.trainer.factories import CONFIG, fake_steps


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = replace(CONFIG, codebook_size=1024, steps=1, warmup_steps=1)
    phones = len(load_phone_set("en-us").phones)
    Trainer(config, phones, fake_steps, None, str(folder)).train()
    return folder


@pytest.fixture(scope="module")
def prompt_file(tmp_path_factory: pytest.TempPathFactory, speech: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("prompt") / "prompt.wav"
    sf.write(path, speech[7 * 16_000 : 13 * 16_000], 16_000)
    return path


def test_a_prompt_is_its_beginning(prompt_file: Path, speech: np.ndarray) -> None:
    prompt = Prompt.read(prompt_file)
    assert prompt.wave_S.dtype == np.float32
    assert len(prompt.wave_S) == 3 * CODEC_RATE
    expected = soxr.resample(speech[7 * 16_000 : 10 * 16_000], 16_000, CODEC_RATE)
    assert np.abs(prompt.wave_S - expected).max() < 1e-2


def test_a_voice_speaks(run: Path, prompt_file: Path) -> None:
    """Without the prompt's words, the recognizer finds them; every way to speak gives finite sound of a length it should have."""
    voice = Voice(str(run), Prompt.read(prompt_file))
    assert voice.prompt_text
    most = voice.request("Hello.").most_frames / 75
    for sound in (voice.say("Hello."), voice.take("Hello.", best_of=2).wave_S, np.concatenate(list(voice.stream("Hello.")))):
        assert 0 < len(sound) <= most * CODEC_RATE
        assert np.isfinite(sound).all()
    assert len(voice.say("Hello. Hello.")) > len(voice.say("Hello."))
    continued = voice.continuation("Hello.")
    assert len(continued) > voice.prompt_KP.shape[1] * 320
    with pytest.raises(ValueError, match="no words"):
        voice.say("...")
    silent = Voice(str(run), Prompt(np.zeros(3 * CODEC_RATE, np.float32)))
    with pytest.raises(ValueError, match="--prompt-text"):
        silent.say("Hello.")


@pytest.mark.parametrize("layers", ["frame", "seanet"])
@pytest.mark.parametrize("chunk", [1, 7, 40, 300])
def test_chunks_join_without_a_seam(layers: str, chunk: int) -> None:
    """Whether or not the codec looks ahead, sound in chunks is the sound of the whole, behind its prompt."""
    torch.manual_seed(0)
    config = CodecConfig(layers=layers, n_filters=2, lstm_layers=1, decoder_width=16, decoder_blocks=2, dimension=16)
    codec = Codec(build_codec(config), sha256="")
    rng = np.random.default_rng(0)
    codes_KT = rng.integers(0, 1024, (8, 120), dtype=np.int16)
    pieces = [codes_KT[:, start : start + chunk] for start in range(30, 120, chunk)]
    chunks = list(decode_in_chunks(codec, codes_KT[:, :30], pieces))
    np.testing.assert_allclose(np.concatenate(chunks), codec.decode([codes_KT])[0][30 * 320 :], atol=1e-5)
    assert len(chunks) > 1 or chunk > 90 - codec.lookahead
    assert list(decode_in_chunks(codec, codes_KT, [])) == []


@pytest.mark.parametrize("how", [["--best-of", "2"], ["--stream"], ["--continue"]])
def test_the_command(run: Path, prompt_file: Path, tmp_path: Path, how: list[str], capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "hello.wav"
    main(["generate", str(run), "--text", "Hi.", "--prompt", str(prompt_file), "--prompt-text", "yes", "--out", str(out), *how])
    sound, rate = sf.read(out)
    assert rate == CODEC_RATE
    assert len(sound) > 0
    told = capsys.readouterr().out
    assert "s of sound" in told
    assert ("first sound" in told) == ("--stream" in how)


def test_half_a_run_cannot_speak(tmp_path: Path, prompt_file: Path) -> None:
    Trainer(replace(CONFIG, train_models=("ar",), steps=2), 20, fake_steps, None, str(tmp_path)).train()
    with pytest.raises(CheckpointError, match="only the model ar"):
        Voice(str(tmp_path), Prompt.read(prompt_file))
