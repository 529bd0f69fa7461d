"""A take that does not say its text is told, by every way to speak; Whisper hears what was said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.commands.main import main
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.synthesis.candidates import ATTEMPTS, words_problem
from voxbeam.synthesis.generate import generate
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.synthesizer import Synthesizer

from tests.safety.ledgers import allow_prompts
from tests.synthesis.test_script import ignore, run_of, script_of

TEXT = "Please open the window."


@pytest.fixture(scope="module")
def babbling() -> Synthesizer:
    """The voice that ships, to which all phones are one: it speaks, and not what it is told to."""
    voice = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
    with torch.no_grad():
        phones = voice.ar.text_embedding.embedding.weight
        phones.copy_(phones.mean(0).expand_as(phones))
    return voice


@pytest.mark.parametrize(
    ("text", "heard", "problem"),
    [
        ("Dr. Smith paid $5.", "doctor smith paid five dollars", ""),
        ("The 2nd of May.", "The second of May", ""),
        ("Good morning.", "Good mourning.", ""),  # half of the words: Whisper mishears one now and then
        ("abc", "ABC.", ""),
        ("Goodbye, Annabel.", "Good bye Anna Bell", ""),
        ("Good morning.", "", "Whisper hears no words"),
        ("Good morning.", " ... ", "Whisper hears ' ... '"),
        ("Yes.", "And so", "Whisper hears 'And so'"),
        ("Good morning.", "And so my fellow, good morning.", "Whisper hears 'And so my fellow, good morning.'"),
    ],
)
def test_more_wrong_words_than_half_are_a_problem(text: str, heard: str, problem: str) -> None:
    assert words_problem(text, heard) == problem


def streamed(voice: Synthesizer) -> list[str]:
    problems: list[str] = []
    for _ in voice.stream(TEXT, problems=problems):
        assert not problems
    return problems


@pytest.mark.slow
@pytest.mark.parametrize(
    "speak",
    [
        lambda voice: voice.speak(TEXT).problems,
        lambda voice: voice.continue_prompt(TEXT).problems,
        streamed,
    ],
    ids=["speak", "continue", "stream"],
)
def test_other_words_are_told(babbling: Synthesizer, speak: Callable[[Synthesizer], list[str]]) -> None:
    (problem,) = speak(babbling)
    assert problem.startswith(f"{TEXT!r}: ")


@pytest.mark.slow
def test_other_words_are_told_of_a_line(babbling: Synthesizer, tmp_path: Path) -> None:
    (row,) = run_of(script_of(tmp_path, {"text": TEXT}), tmp_path / "out").speak(babbling, ignore)
    assert row.takes == ATTEMPTS and row.errors[0].startswith(f"{TEXT!r}: ")


@pytest.mark.slow
def test_a_prompt_that_costs_words_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whatever is heard of what is said."""
    wave_S = np.clip(20 * Prompt.read(PROMPT).wave_S, -1, 1)
    sf.write(tmp_path / "loud.wav", wave_S, CODEC_RATE, subtype="FLOAT")
    allow_prompts([wave_S])
    voice = Synthesizer.load(prompt=tmp_path / "loud.wav", prompt_text=PROMPT_TEXT)
    line = {"text": "Come in.", "voice": str(tmp_path / "loud.wav"), "prompt_text": PROMPT_TEXT}
    (row,) = run_of(script_of(tmp_path, line), tmp_path / "out").speak(voice, ignore)
    for warnings in (voice.speak("Come in.").warnings, voice.continue_prompt("Come in.").warnings, row.warnings):
        assert len(warnings) == 1 and "of the prompt is clipped" in warnings[0]
    assert run_of(tmp_path / "lines.jsonl", tmp_path / "out").speak(None, ignore) == [row]
    words = ["--prompt", str(tmp_path / "loud.wav"), "--prompt-text", PROMPT_TEXT]
    for asked in (["--text", "Come in.", "--out", "said.wav"], ["--script", str(tmp_path / "lines.jsonl"), "--out", "said"]):
        main(["generate", *words, *asked[:3], str(tmp_path / asked[3])])
        assert "of the prompt is clipped" in capsys.readouterr().err


@pytest.mark.slow
def test_right_words_are_no_problem_and_those_of_another_text_are() -> None:
    voice = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
    (generated,) = generate(voice.ar, voice.nar, [voice.request(TEXT)], voice.sampling)
    assert voice.measure(TEXT, generated).problem == ""
    assert voice.measure("Nobody came to the party.", generated).problem.startswith("Whisper hears")
    voice.language = "de"  # of which this Whisper knows nothing
    assert voice.measure("Nobody came to the party.", generated).problem == ""
