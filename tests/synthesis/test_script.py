"""Scripts: many lines by the voice that ships, stopped and gone on with; what is wrong is named before anything is spoken."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from voxbeam.assets import DEMO, PROMPT, PROMPT_TEXT
from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.models.load_valle import export_models, weights_hash
from voxbeam.models.threads import pin_threads
from voxbeam.safety.gate import ConsentGate
from voxbeam.safety.made_voices import MADE_VOICES
from voxbeam.schemas.errors import SynthesisError
from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.storage.store import Store
from voxbeam.synthesis.candidates import ATTEMPTS
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.script import Voice, read_script
from voxbeam.synthesis.script_speech import REPORT, ScriptRun, SpokenLine, read_voices
from voxbeam.synthesis.synthesizer import Synthesizer

from tests.safety.ledgers import allow_prompts
from tests.trainer.factories import CONFIG, make_trainer

BELLA = Voice(PROMPT, PROMPT_TEXT)


@pytest.fixture(scope="module")
def voice() -> Synthesizer:
    pin_threads()
    return Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)


def script_of(folder: Path, *lines: dict) -> Path:
    path = folder / "lines.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def run_of(path: Path, out: Path) -> ScriptRun:
    lines = read_script(path, voice=BELLA)
    prompts = read_voices(lines, 3.0, ConsentGate(), "embedded")
    return ScriptRun(lines, prompts, Store(str(out)), "embedded", ["en-us"])


def ignore(spoken: SpokenLine, was_there: bool) -> None:
    pass


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_sounds(voice: Synthesizer, tmp_path: Path) -> None:
    reader = next((DEMO / "sonnets_reader").rglob("*001.flac"))
    grant = allow_prompts([Prompt.read(reader).wave_S])
    path = script_of(
        tmp_path,
        {"text": "Come in.", "out": "a.wav"},
        {"text": "Yes.", "out": "more/b.flac", "seed": 2},
        {"text": "No. Yes.", "out": "c.wav", "voice": str(reader)},
    )
    rows = run_of(path, tmp_path / "whole").speak(voice, ignore)
    assert [row.out for row in rows] == ["a.wav", "more/b.flac", "c.wav"] and [row.sentences for row in rows] == [1, 1, 2]

    def stop(spoken: SpokenLine, was_there: bool) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run_of(path, out).speak(voice, stop)
    there = [name for name in ("a.wav", "more/b.flac", "c.wav") if (out / name).exists()]
    assert there == ["c.wav"]  # batches are sorted by voice
    written = (out / "c.wav").stat().st_mtime_ns
    told = {}
    again = run_of(path, out).speak(voice, lambda spoken, was_there: told.update({spoken.out: was_there}))
    assert told == {"c.wav": True, "a.wav": False, "more/b.flac": False} and again == rows
    assert (out / "c.wav").stat().st_mtime_ns == written
    for row in rows:
        assert (out / row.out).read_bytes() == (tmp_path / "whole" / row.out).read_bytes()
        sound, rate = sf.read(out / row.out)
        assert rate == CODEC_RATE and len(sound) / rate == pytest.approx(row.seconds, abs=1e-3) and np.abs(sound).max() > 0.01
    reported = [json.loads(line) for line in (out / REPORT).read_text(encoding="utf-8").splitlines()]
    assert {line["out"] for line in reported} == {row.out for row in rows}
    made = next(iter(MADE_VOICES.values()))
    events = {line["out"]: line["watermark_event"] for line in reported}
    assert events == {"a.wav": made.digest, "more/b.flac": made.digest, "c.wav": grant.digest}
    assert run_of(path, out).speak(None, ignore) == rows  # nothing is left to do

    changed = run_of(script_of(tmp_path, {"text": "Good evening.", "out": "a.wav"}), out)
    assert changed.changed == ["a.wav"] and not changed.done


def test_sounds_of_other_weights_are_made_again(tmp_path: Path) -> None:
    """A run that has trained on since is another one, and so is one that is another file."""
    path, run = script_of(tmp_path, {"text": "Come in.", "out": "a.wav"}), tmp_path / "run"
    lines = read_script(path, voice=BELLA)
    prompts = read_voices(lines, 3.0, ConsentGate(), "embedded")

    def request(uri: Path) -> ScriptRun:
        return ScriptRun(lines, prompts, Store(str(tmp_path / "out")), str(uri), ["en-us"])

    make_trainer(str(run), replace(CONFIG, steps=4, validate_every=4)).train()
    before = request(run)
    assert before.requests == request(run).requests
    make_trainer(str(run), CONFIG).train()
    assert before.requests != request(run).requests
    with pytest.raises(SynthesisError, match="new weights since this command began"):
        before.speak(object(), ignore)
    export_models(str(run), tmp_path / "voice.safetensors")
    assert weights_hash(str(tmp_path / "voice.safetensors")) != weights_hash(str(run))
    (run / "ar").mkdir()
    (run / "checkpoints").rename(run / "ar" / "checkpoints")
    shutil.copytree(run / "ar", run / "nar")
    assert len(set(weights_hash(str(run)).split("-"))) == 1


@pytest.mark.slow
def test_takes_that_never_end_are_tried_again_and_told(tmp_path: Path) -> None:
    voice = Synthesizer.load(prompt=PROMPT, prompt_text=PROMPT_TEXT)
    with torch.no_grad():
        bias = voice.ar.transformer.norm.norm.bias
        bias.copy_(torch.ones_like(bias))
        voice.ar.code_embedding.weight[voice.ar.end_id] = -20.0
    (row,) = run_of(script_of(tmp_path, {"text": "Hi. [laughs]"}), tmp_path / "out").speak(voice, ignore)
    assert row.takes == ATTEMPTS and not row.finished
    assert row.errors[0] == "'[laughs]' is not spoken" and row.errors[1].startswith("'Hi.': the model did not end it")
    (again,) = run_of(tmp_path / "lines.jsonl", tmp_path / "out").speak(None, ignore)
    assert again == row and (tmp_path / "out" / row.out).exists()


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "lines.txt"
    words = ["--script", str(path), "--prompt", str(PROMPT), "--prompt-text", PROMPT_TEXT, "--out", str(tmp_path / "\x1bout")]
    path.write_text("Come in.\n\n[laughs] Yes.\n", encoding="utf-8")
    assert main(["generate", *words]) == WRONG
    printed, told = capsys.readouterr()
    assert "lines-0001.wav" in printed and "lines-0003.wav" in printed and "1 not as asked" in printed
    assert "\x1b" not in printed + told and "\\x1bout: 2 lines in 1 voice" in printed
    assert main(["generate", *words]) == WRONG
    assert "2 there before, 1 not as asked" in capsys.readouterr().out
    path.write_text("Come in.\n", encoding="utf-8")
    assert main(["generate", *words]) == DONE


def test_bad_lines_are_named_together(tmp_path: Path) -> None:
    path = script_of(
        tmp_path,
        {"text": "Fine.", "out": "a.wav"},
        {"txt": "No."},
        {"text": "Привет."},
        {"text": "..."},
        {"text": "Two.", "out": "A.wav"},
        {"text": "Out.", "out": "../b.wav"},
        {"text": "Out.", "out": "b.mp3"},
        {"text": "Seed.", "seed": True},
        {"text": "Seed.", "seed": -1},
    )
    path.write_text(path.read_text(encoding="utf-8") + "\n[1]\n{", encoding="utf-8")
    with pytest.raises(SynthesisError) as caught:
        read_script(path)
    said = caught.value.message.splitlines()
    assert said[0].startswith(f"{path}:1: it names no 'voice'") and said[-1] == "and 1 more"
    with pytest.raises(SynthesisError) as caught:
        read_script(path, voice=BELLA)
    said = caught.value.message.splitlines()
    assert [line.partition(": ")[0] for line in said] == [f"{path}:{number}" for number in range(2, 12)]
    reasons = ("unknown key 'txt'", "Cyrillic", "no words", f"that of {path}:1", "below the folder", "none of the endings")
    assert all(
        reason in line for reason, line in zip((*reasons, "whole number", "from 0", "object", "no JSON"), said, strict=True)
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "Hi.", "voice": "missing.wav"}, "lines.jsonl:2: "),
        ({"text": "Hi.", "voice": str(next((DEMO / "kennedy").rglob("*.flac")))}, "lines.jsonl:2: "),
        ({"text": "Hi.", "prompt_txt": "x"}, "lines.jsonl:2: unknown key"),
        ({"text": "Hi.", "out": "mine.wav"}, "lines.jsonl:2: "),
    ],
)
def test_nothing_is_spoken_if_a_line_cannot_be(tmp_path: Path, line: dict, message: str, capsys: pytest.CaptureFixture) -> None:
    """A prompt that is missing, a voice that nobody allowed, a wrong key, a sound of somebody else's where one should go."""
    path, out = script_of(tmp_path, {"text": "Hello."}, line), tmp_path / "out"
    out.mkdir()
    (out / "mine.wav").write_bytes(b"RIFF")
    words = ["--script", str(path), "--prompt", str(PROMPT), "--prompt-text", PROMPT_TEXT, "--out", str(out)]
    assert main(["generate", "no-such-run" if "mine" not in line.get("out", "") else "embedded", *words]) == UNUSABLE
    told = capsys.readouterr().err
    assert message in told and "nothing was spoken" in told and "lines.jsonl:1" not in told
    assert [path.name for path in out.iterdir()] == ["mine.wav"]


def test_a_key_that_is_there_twice_is_not_one_of_the_two(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"text": "One.", "text": "Two."}\n')
    with pytest.raises(SynthesisError, match=r"s\.jsonl:1: .*'text' is there twice"):
        read_script(tmp_path / "s.jsonl", voice=BELLA)
