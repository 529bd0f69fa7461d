"""`voxbeam evaluate model`: its table and its JSON document."""

import json
from pathlib import Path
from typing import Any

import pytest

from voxbeam.commands import evaluate_model as command
from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.main import main
from voxbeam.evaluation import html_page, zero_shot
from voxbeam.evaluation.zero_shot import Evaluation, Row
from voxbeam.models import speech_metrics
from voxbeam.trainer.data import stream

ROW = Row(name="model", wer=0.25, speaker_similarity=0.5, duration_ratio=1.1, truncated_rate=0.0, real_time_factor=2.0)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The library without its models; what it was called with."""
    seen: dict[str, Any] = {}

    def evaluate(run: str, corpus: Any, codec: Any, transcriber: Any, count: int, **options: Any) -> Evaluation:
        seen.update(run=run, count=count, **options)
        return Evaluation([ROW], [], {})

    monkeypatch.setattr(zero_shot, "evaluate", evaluate)
    monkeypatch.setattr(html_page, "write_page", lambda result, out: seen.update(out=out))
    monkeypatch.setattr(stream, "Stream", lambda corpus, **options: seen.update(corpus=corpus, **options))
    monkeypatch.setattr(speech_metrics, "WhisperTranscriber", lambda name, device: name)
    monkeypatch.setattr(command, "open_codec", lambda name, device: name)
    return seen


def test_options_reach_the_library(measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "evaluate",
        "model",
        "run",
        "corpus",
        "--out",
        str(tmp_path),
        "--split",
        "valid",
        "--count",
        "3",
        "--continual",
        "--seed",
        "7",
        "--codec-name",
        "small",
    ]
    assert main(words) == DONE
    del measured["config"]
    expected = {"run": "run", "corpus": "corpus", "split": "valid", "count": 3, "continual": True, "seed": 7, "device": "cpu"}
    assert measured == {**expected, "out": tmp_path, "codec": "small"}
    printed = capsys.readouterr().out
    assert "model  0.250" in printed and str(tmp_path / "index.html") in printed


def test_json(measured: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "model", "run", "corpus", "--out", str(tmp_path), "--json"]) == DONE
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert list(document) == list(FIELDS["evaluate model"]) and document["rows"][0]["wer"] == 0.25
    assert "Listening page" in printed.err
