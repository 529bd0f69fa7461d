"""From a prompt and a text to audio: the real codec, phones, Whisper and speaker encoder, and an untrained model."""

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
from voxbeam.schemas.errors import CheckpointError, ModelError, SynthesisError, VoxbeamError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.synthesizer import Prompt, Synthesizer, decode_chunks
from voxbeam.trainer.training import Trainer

from tests.trainer.factories import CONFIG, PHONES, fake_steps


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = replace(CONFIG, codebook_size=1024, steps=1, warmup_steps=1)
    phones = load_phone_set("en-us").phones
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


@pytest.mark.slow
def test_every_way_to_synthesize(run: Path, prompt_file: Path) -> None:
    """Whisper transcribes the prompt; every way to synthesize gives finite audio of a plausible length."""
    synthesizer = Synthesizer(str(run), Prompt.read(prompt_file))
    assert synthesizer.prompt_text
    most = synthesizer.request("Hello.").max_frames / 75
    for sound in (
        synthesizer.say("Hello."),
        synthesizer.best_candidate("Hello.", candidates=2).wave_S,
        np.concatenate(list(synthesizer.stream("Hello."))),
    ):
        assert 0 < len(sound) <= most * CODEC_RATE
        assert np.isfinite(sound).all()
    assert len(synthesizer.say("Hello. Hello.")) > len(synthesizer.say("Hello."))
    continued = synthesizer.continue_prompt("Hello.")
    assert len(continued) > synthesizer.prompt_KP.shape[1] * 320
    with pytest.raises(ValueError, match="no words"):
        synthesizer.say("...")
    silent = Synthesizer(str(run), Prompt(np.zeros(3 * CODEC_RATE, np.float32)))
    with pytest.raises(ValueError, match="--prompt-text"):
        silent.say("Hello.")


@pytest.mark.slow
def test_load_opens_all_parts_by_name(run: Path, prompt_file: Path, tmp_path: Path) -> None:
    loaded = Synthesizer.load(str(run), prompt=prompt_file, prompt_text="yes")
    built = Synthesizer(str(run), Prompt.read(prompt_file, "yes"))
    np.testing.assert_array_equal(loaded.say("Hello.", seed=1), built.say("Hello.", seed=1))
    for error, arguments in (
        (SynthesisError, {"run_uri": str(run), "prompt": tmp_path / "missing.wav"}),
        (CheckpointError, {"run_uri": str(tmp_path / "missing"), "prompt": prompt_file}),
        (ModelError, {"run_uri": str(run), "prompt": prompt_file, "codec": "missing"}),
    ):
        with pytest.raises(error) as caught:
            Synthesizer.load(**arguments)
        assert isinstance(caught.value, VoxbeamError) and caught.value.remedy


@pytest.mark.slow
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
    chunks = list(decode_chunks(codec, codes_KT[:, :30], pieces))
    np.testing.assert_allclose(np.concatenate(chunks), codec.decode([codes_KT])[0][30 * 320 :], atol=1e-5)
    assert len(chunks) > 1 or chunk > 90 - codec.lookahead
    assert list(decode_chunks(codec, codes_KT, [])) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--best-of", "2"], ["--stream"], ["--continue"]])
def test_the_command(run: Path, prompt_file: Path, tmp_path: Path, how: list[str], capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "hello.wav"
    main(["generate", str(run), "--text", "Hi.", "--prompt", str(prompt_file), "--prompt-text", "yes", "--out", str(out), *how])
    sound, rate = sf.read(out)
    assert rate == CODEC_RATE
    assert len(sound) > 0
    printed = capsys.readouterr().out
    assert "s of speech" in printed
    assert ("Time to first audio" in printed) == ("--stream" in how)


def test_a_run_without_nar_is_refused(tmp_path: Path, prompt_file: Path) -> None:
    Trainer(replace(CONFIG, train_models=("ar",), steps=2), PHONES, fake_steps, None, str(tmp_path)).train()
    with pytest.raises(CheckpointError, match="only the model ar"):
        Synthesizer(str(tmp_path), Prompt.read(prompt_file))
