"""Which steps read a person: the plan names what the stream really read, and a run that did is blocked."""

import json
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest
import torch

from voxbeam.assets import PROMPT
from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.models import checkpoint
from voxbeam.safety.blocks import require_not_blocked
from voxbeam.safety.keys import KeyRing, key_folder
from voxbeam.schemas.errors import CheckpointError, ConsentError, StorageError
from voxbeam.schemas.sample_keys import recording_of
from voxbeam.storage.store import Store
from voxbeam.synthesis.synthesizer import Synthesizer
from voxbeam.trainer.configs import overfit_cpu
from voxbeam.trainer.data.consumed import find_consumed
from voxbeam.trainer.data.sampler import SamplerConfig
from voxbeam.trainer.data.stream import Stream, StreamConfig

from tests.pipeline.factories import member, release_of
from tests.safety.ledgers import put_tombstone

STEPS = 9


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Twelve samples of four recordings, by two people."""
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VOXBEAM_KEYS", str(tmp_path / "keys"))
    members = [
        member(name, start, speaker=name[0], phones="a | b", phone_ids=[2, 1, 3], ms=3200)
        for name in ("a1", "a2", "b1", "b2")
        for start in (0, 4000, 8000)
    ]
    return release_of(tmp_path / "corpus", {"train": members})


def train(corpus: Store, run: Path, steps: tuple[int, ...], **facts: object) -> list[set[str]]:
    """The checkpoints of a run that reads real batches, without learning; returns the keys of each step."""
    config = StreamConfig(sampler=SamplerConfig(batch_frames=700, block_samples=2, window_blocks=3, prompt_fraction=0.5, seed=3))
    stream = Stream(corpus.root, config=config)
    read: list[set[str]] = []
    for number, (batches, state) in enumerate(islice(stream.steps(), max(steps)), start=1):
        read.append({key for batch in batches for key in batch.keys})
        if number in steps:
            saved = {"step": number, "loader_state": state, "config": asdict(overfit_cpu()), "data": stream.facts, "model": {}}
            made = checkpoint.Checkpoint({"x": torch.zeros(1)}, saved | {"codec_sha256": ""} | facts)
            checkpoint.write(checkpoint.checkpoint_store(str(run)), number, made, keep_last=9)
    return read


def test_the_plan_names_what_the_stream_reads(tmp_path: Path, corpus: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    read = train(corpus, run, (1, STEPS))
    (nothing,) = find_consumed(str(run), corpus)
    assert nothing.steps == [] and (nothing.saved, nothing.total_steps) == ([1, STEPS], STEPS)
    put_tombstone(corpus, {"b1": None}, "", KeyRing(key_folder()).operator(make=True))
    (found,) = find_consumed(str(run), corpus)
    own = {step.step: set(step.samples) for step in found.steps if step.samples}
    assert own == {n: mine for n, keys in enumerate(read, start=1) if (mine := {k for k in keys if recording_of(k) == "b1"})}
    assert own and any(step.prompts for step in found.steps), "prompts of others' samples count too"
    assert all(recording_of(key) == "b1" for step in found.steps for key in step.prompts)

    words = ["takedown", "checkpoints", str(run), "--corpus", corpus.root, "--out", str(tmp_path / "steps.jsonl")]
    assert main(words) == WRONG and not (run / "blocked.json").exists()
    assert f"checkpoint of step {STEPS}: learned from them" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert {line["step"]: set(line["samples"]) for line in lines if line["samples"]} == own


def test_a_run_that_learned_from_them_is_blocked(tmp_path: Path, corpus: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    read = train(corpus, run, (1, STEPS))
    first = next(key for key in sorted(read[1] | read[2]) if recording_of(key) not in {recording_of(k) for k in read[0]})
    put_tombstone(corpus, {str(recording_of(first)): None}, "", KeyRing(key_folder()).operator(make=True))
    words = ["takedown", "checkpoints", str(run), "--corpus", corpus.root, "--block"]
    require_not_blocked(str(run))
    assert main(words) == WRONG
    speak = ["generate", str(run), "--prompt", str(PROMPT), "--text", "Hi.", "--out", str(tmp_path / "hi.wav")]
    with pytest.raises(ConsentError, match="is blocked: it learned from somebody who was taken down, first at step"):
        Synthesizer.load(str(run), prompt=PROMPT)
    assert main(speak) == UNUSABLE and not (tmp_path / "hi.wav").exists()
    assert main(["export", str(run), "--out", str(tmp_path / "out.safetensors")]) == UNUSABLE
    assert capsys.readouterr().err.count("is blocked") == 2
    (run / "blocked.json").write_text("{}")
    with pytest.raises(ConsentError, match="there is a block that cannot be read"):
        require_not_blocked(str(run))

    (run / "checkpoints" / f"step-{STEPS:09d}.safetensors").unlink()  # the one that is left did not learn from them
    assert main(words) == DONE and "the block is taken back" in capsys.readouterr().out
    require_not_blocked(str(run))


def test_an_exported_file_is_blocked_beside_it(tmp_path: Path) -> None:
    from voxbeam.safety.blocks import block_run

    path = str(tmp_path / "voice.safetensors")
    block_run(path, 7, KeyRing(tmp_path / "keys").operator(make=True))
    assert (tmp_path / "voice.safetensors.blocked.json").exists()
    with pytest.raises(ConsentError, match="first at step 7"):
        require_not_blocked(path)


def test_another_corpus_or_another_history_is_an_error(tmp_path: Path, corpus: Store) -> None:
    put_tombstone(corpus, {"b1": None}, "", KeyRing(key_folder()).operator(make=True))
    other = release_of(tmp_path / "other", {"train": [member("c", 0, phones="a | b", phone_ids=[2, 1, 3])]})
    train(other, tmp_path / "run", (2,))
    with pytest.raises(StorageError, match=r"is not what .* learned from"):
        find_consumed(str(tmp_path / "run"), corpus)
    train(other, tmp_path / "odd", (2,), loader_state=99)
    with pytest.raises(CheckpointError, match="is at loader state 99 after 2 steps"):
        find_consumed(str(tmp_path / "odd"), other)
    train(other, tmp_path / "tars", (2,), data={})
    with pytest.raises(CheckpointError, match="does not say which release"):
        find_consumed(str(tmp_path / "tars"), other)
