"""From a prompt and a text to audio: the real codec, phones, Whisper and speaker encoder, and an untrained model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
import torch

from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.models.codec import Codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.models.phones import load_phone_set
from voxbeam.schemas.errors import CheckpointError, ModelError, SynthesisError, VoxbeamError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.candidates import ATTEMPTS, Candidate, best_of
from voxbeam.synthesis.chunks import decode_chunks
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.synthesis.whole_words import text_of_prompt
from voxbeam.trainer.training import Trainer

from tests.safety.ledgers import allow_prompts
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
    allow_prompts(Prompt.read(path, seconds=seconds).wave_S for seconds in (3, 6))
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
    continued = synthesizer.continue_prompt("Hello.").wave_S
    assert len(continued) > synthesizer.prompt_KP.shape[1] * 320
    with pytest.raises(ValueError, match="no words"):
        synthesizer.say("...")
    silence = Prompt(np.zeros(3 * CODEC_RATE, np.float32))
    allow_prompts([silence.wave_S])
    silent = Synthesizer(str(run), silence)
    with pytest.raises(ValueError, match=r"the prompt is almost silent.*--prompt-text"):
        silent.say("Hello.")


@pytest.mark.slow
def test_load_opens_all_parts_by_name(run: Path, prompt_file: Path, tmp_path: Path) -> None:
    loaded = Synthesizer.load(str(run), prompt=prompt_file, prompt_text="yes", prompt_seconds=6)
    built = Synthesizer(str(run), Prompt.read(prompt_file, "yes", 6))
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
    words = ["--text", "Hi.", "--prompt", str(prompt_file), "--prompt-seconds", "6", "--prompt-text", "yes", "--out", str(out)]
    status = main(["generate", str(run), *words, *how])
    sound, rate = sf.read(out)
    assert rate == CODEC_RATE
    assert len(sound) > 0
    printed, told = capsys.readouterr()
    assert status == (WRONG if "not as asked: 'Hi.': " in told else DONE)
    assert "s of speech" in printed
    assert ("Time to first audio" in printed) == ("--stream" in how)


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--stream"], ["--continue"]])
def test_what_is_not_spoken_is_told(
    run: Path, prompt_file: Path, tmp_path: Path, how: list[str], capsys: pytest.CaptureFixture
) -> None:
    words = ["--text", "[laughs] Hi.", "--prompt", str(prompt_file), "--prompt-seconds", "6", "--prompt-text", "yes"]
    assert main(["generate", str(run), *words, "--out", str(tmp_path / "hi.wav"), *how]) == WRONG
    assert "not as asked: '[laughs]' is not spoken" in capsys.readouterr().err


def test_a_run_without_nar_is_refused(tmp_path: Path, prompt_file: Path) -> None:
    Trainer(replace(CONFIG, train_models=("ar",), steps=2), PHONES, fake_steps, None, str(tmp_path)).train()
    with pytest.raises(CheckpointError, match="only the model ar"):
        Synthesizer(str(tmp_path), Prompt.read(prompt_file))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sign", "problem"), [(1, "the model ended it after 0.09 s"), (-1, "the model did not end it; it was cut after")]
)
def test_a_take_that_fails_is_tried_again_and_told(run: Path, prompt_file: Path, sign: int, problem: str) -> None:
    """A model that ends at once, or never: its output weights of the end token are those of its last bias."""
    synthesizer = Synthesizer(str(run), Prompt.read(prompt_file, "yes", 6))
    ar = synthesizer.ar
    with torch.no_grad():
        bias = ar.transformer.norm.norm.bias
        bias.copy_(torch.ones_like(bias))
        ar.code_embedding.weight[ar.end_id] = sign * 20.0
    seeds = []
    generate_once = synthesizer.synthesize

    def counted(sentences: list[str], *, seed: int = 0) -> list[Candidate]:
        seeds.append(seed)
        return generate_once(sentences, seed=seed)

    synthesizer.synthesize = counted  # type: ignore[method-assign, assignment]
    speech = synthesizer.speak("Hi. [laughs]", candidates=2)
    assert len(set(seeds)) == ATTEMPTS
    assert speech.left_out[0] == "'[laughs]' is not spoken" and speech.failed[0].startswith(f"'Hi.': {problem}")


def test_the_text_of_a_longer_recording_is_cut_where_its_prompt_is() -> None:
    text = "And so, my fellow Americans, ask not what your country can do for you."
    assert text_of_prompt(text, "and so my fellow Americans ask") == "And so, my fellow Americans, ask"
    assert text_of_prompt(text, "And so my fellow American") == "And so, my fellow Americans,"
    assert text_of_prompt("Yes.", "yes") == "Yes."
    with pytest.raises(SynthesisError, match=r"the text of the prompt is 'Something else', and Whisper hears 'and so my fellow'"):
        text_of_prompt("Something else", "and so my fellow")


def test_what_is_not_a_number_is_never_the_best() -> None:
    def candidate(finished: bool, wer: float, similarity: float, problem: str = "") -> Candidate:
        one = Candidate(silence, finished, wer, silence, problem)
        vars(one)["speaker_similarity"] = similarity
        return one

    nothing, silence = float("nan"), np.zeros(0, np.float32)
    good, failed = candidate(True, 0.5, 0.1), candidate(False, 0.0, 0.9, "the model did not end it")
    odd = [candidate(True, nothing, 0.9), candidate(True, 0.5, nothing)]
    assert best_of([*odd, failed, good]) is good and best_of([failed, *odd]) is odd[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "missing/hello.wav"], "missing, does not exist; create it first"),
        (["--out", "hello.xyz"], "none of the endings .wav"),
        (["--out", "hello.wav", "--best-of", "0"], "0 is not in the range x>=1"),
        (["--out", "hello.wav", "--device", "cuda"], "torch sees no GPU here; use --device cpu"),
    ],
)
def test_what_cannot_be_written_or_run_is_told_before_anything_is_read(
    words: list[str], message: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["generate", "no-such-run", "--text", "Hi.", "--prompt", "no-such-prompt.wav", *words]) == UNUSABLE
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_run_of_other_phones_is_refused(tmp_path: Path, prompt_file: Path) -> None:
    """As many phones as the phone set has, two of them in another order."""
    phones = list(load_phone_set("en-us").phones)
    phones[10], phones[11] = phones[11], phones[10]
    Trainer(replace(CONFIG, steps=2, warmup_steps=1), phones, fake_steps, None, str(tmp_path)).train()
    with pytest.raises(CheckpointError, match="which are not those of en-us"):
        Synthesizer(str(tmp_path), Prompt.read(prompt_file))
