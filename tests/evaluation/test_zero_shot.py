"""The protocol on a release made by hand, by a model that knows nothing: who is prompted by whom, and what is written."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from voxbeam.evaluation.html_page import write_page
from voxbeam.evaluation.prompts import choose_cases
from voxbeam.evaluation.spoken_validation import SpokenValidation
from voxbeam.evaluation.zero_shot import evaluate
from voxbeam.models.checkpoint import checkpoint_store, read
from voxbeam.models.codec import EMBEDDED_WEIGHTS, load_codec
from voxbeam.models.load_valle import load_models
from voxbeam.models.speech_metrics import WhisperTranscriber
from voxbeam.pipeline.steps.release_writer import commit, write_part
from voxbeam.pipeline.steps.shards import write_shards
from voxbeam.schemas.errors import CheckpointError, ConfigError
from voxbeam.schemas.release import ReleaseFile
from voxbeam.storage.store import Store
from voxbeam.trainer.data.stream import Stream
from voxbeam.trainer.training import Trainer

from tests.pipeline.factories import draft, member
from tests.trainer.factories import CONFIG, fake_steps

PHONES = ["<pad>", "|", *"abcdefghijklmnopqr"]


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Three utterances of 5 s of one speaker, and one of another, who has nothing to be prompted by."""
    monkeypatch.setenv("VOXBEAM_CACHE", str(tmp_path / "cache"))
    store = Store(str(tmp_path / "corpus"))
    members = [member("r", start, ms=5000, speaker="many") for start in (0, 6000, 12_000)]
    members.append(member("z", 0, ms=5000, speaker="one"))
    ((shard, rows),) = write_shards(store, "train", 0, members, 1 << 30)
    files = [ReleaseFile(path=shard.shard, kind="shard", sha256=shard.sha256, bytes=shard.bytes, rows=shard.samples)]
    files += [write_part(store, "samples", "s", list(rows)), write_part(store, "shards", "s", [shard])]
    commit(store, draft(), files, {"samples": 4}, json.dumps({"phones": PHONES}).encode())
    return Stream(str(tmp_path / "corpus"))


def test_every_case_has_another_prompt_of_its_speaker(stream: Stream) -> None:
    cases = choose_cases(stream, 10)
    assert len(cases) == 3
    for case in cases:
        assert case.target.key.startswith("r_") and case.prompt.key.startswith("r_") and case.target.key != case.prompt.key
    assert [c.target.key for c in choose_cases(stream, 2, seed=5)] == [c.target.key for c in choose_cases(stream, 2, seed=5)]


def test_a_split_without_pairs_is_an_error(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stream.index.arrays, "speaker", np.arange(4, dtype=np.int32))
    with pytest.raises(ValueError, match="another split"):
        choose_cases(stream, 10)


def test_a_run_of_other_phones_is_refused(stream: Stream, tmp_path: Path) -> None:
    """As many phones as the corpus has, two of them in another order."""
    phones = [*PHONES[:-2], *reversed(PHONES[-2:])]
    Trainer(replace(CONFIG, steps=1, warmup_steps=1), phones, fake_steps, None, str(tmp_path / "run")).train()
    with pytest.raises(CheckpointError, match="trained with 20 phones, which are not the 20 of the corpus"):
        evaluate(str(tmp_path / "run"), stream, load_codec(EMBEDDED_WEIGHTS), WhisperTranscriber(), 2)


@pytest.mark.slow
@pytest.mark.parametrize("continual", [False, True])
def test_table_and_page(stream: Stream, tmp_path: Path, continual: bool) -> None:
    config = replace(CONFIG, codebook_size=1024, steps=1, warmup_steps=1)
    Trainer(config, PHONES, fake_steps, None, str(tmp_path / "run")).train()
    result = evaluate(str(tmp_path / "run"), stream, load_codec(EMBEDDED_WEIGHTS), WhisperTranscriber(), 2, continual=continual)
    codec, model = result.rows
    assert codec.duration_ratio == pytest.approx(1.0, abs=0.01) and codec.truncated_rate == 0
    assert 0 < model.duration_ratio <= (2.61 if continual else 2.0) and 0 <= model.truncated_rate <= 1
    write_page(result, tmp_path / "page")
    assert len(json.loads((tmp_path / "page" / "table.json").read_text())) == 2
    page = (tmp_path / "page" / "index.html").read_text()
    assert page.count("<audio") == 6 and "h\u00e9llo" in page


@pytest.mark.slow
def test_a_run_that_speaks_at_validation(stream: Stream, tmp_path: Path) -> None:
    """The words are counted with the losses, the same way every time; the run itself is what it would be without."""
    config = replace(CONFIG, codebook_size=1024, steps=2, warmup_steps=1, validate_every=1, save_every=2)
    codec = load_codec(EMBEDDED_WEIGHTS)
    spoken = SpokenValidation(stream, codec, WhisperTranscriber(), 2)
    for name, speak in (("silent", None), ("speaking", spoken)):
        Trainer(config, PHONES, fake_steps, fake_steps, str(tmp_path / name), speak=speak).train()
    lines = [json.loads(line) for line in (tmp_path / "speaking" / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "valid/loss/0" in line]
    assert [line["step"] for line in measured] == [1, 2] and all(line["spoken/wer"] > 0 for line in measured)
    assert {name for name in measured[0] if name.startswith("spoken/")} == {
        "spoken/wer", "spoken/similarity", "spoken/truncated", "spoken/duration",
    }  # fmt: skip
    ar, nar, _ = load_models(str(tmp_path / "speaking"))
    assert spoken(ar, nar) == {name: measured[1][name] for name in measured[1] if name.startswith("spoken/")}
    ours, theirs = (read(checkpoint_store(str(tmp_path / name))).tensors for name in ("silent", "speaking"))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_only_a_run_of_both_models_speaks() -> None:
    with pytest.raises(ConfigError, match="validate_sentences"):
        replace(CONFIG, validate_sentences=2, train_models=("ar",))
