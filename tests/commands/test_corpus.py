"""`voxbeam plan`, `build`, `status`, `verify` and `config`: what they print, and their exit statuses."""

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from voxbeam import assets
from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import DONE, QUARANTINED, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.schemas.config import CorpusConfig

pytestmark = pytest.mark.build

KENNEDY = assets.DEMO / "kennedy"


@dataclass(frozen=True)
class Built:
    """A corpus of one recording, with another in quarantine, and what its build wrote."""

    output: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(KENNEDY, folder / "in" / "kennedy")
    (folder / "in" / "empty.wav").touch()
    command = ["build", "--input", str(folder / "in"), "--output", str(folder / "out"), "--direct_num_workers=1", "--json"]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        assert main(command) == QUARANTINED
    return Built(folder / "out", out.getvalue(), err.getvalue())


@pytest.fixture
def corpus(built: Built) -> Path:
    return built.output


def read_json(command: str, text: str) -> dict[str, Any]:
    """A command's whole standard output as the document that docs/cli.md describes."""
    document = json.loads(text)
    assert list(document) == list(FIELDS[command])
    return dict(document)


def test_json_of_a_build(built: Built) -> None:
    document = read_json("build", built.stdout)
    assert (document["release"], document["committed"], document["submitted"]) == (1, True, False)
    assert document["counts"]["samples"] == 1 and document["changes"] == [] and document["job_id"] is None
    (row,) = document["quarantine"]
    assert row["recording"] == "empty_wav" and row["reason"] == "empty_file" and row["remedy"]
    assert "Committed release 000001" in built.stderr and "Quarantine: 1 recording" in built.stderr


def test_json_of_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--input", str(KENNEDY), "--sample-minutes", "1", "--json"]) == DONE
    printed = capsys.readouterr()
    document = read_json("plan", printed.out)
    assert (document["recordings"], document["samples"]) == (1, 1) and document["worker_seconds"]["transcribe"] > 0
    assert "× real time per worker" in printed.err and document["gpu"] is None


def test_plan_for_a_gpu_needs_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("voxbeam.pipeline.gpu_rates.GPU_RATES", Path("missing"))
    assert main(["plan", "--input", str(KENNEDY), "--sample-minutes", "1", "--device", "cuda", "--json"]) == DONE
    printed = capsys.readouterr()
    gpu = read_json("plan", printed.out)["gpu"]
    assert gpu["card"] is None and gpu["worker_seconds"]["transcribe"] is None and gpu["worker_seconds"]["decode"] > 0
    assert "On this machine" in printed.err and "stage, with a GPU" in printed.err and "no total" in printed.err


def test_json_of_status_verify_and_gc(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = ["--output", str(corpus), "--json"]
    assert main(["status", *output]) == DONE
    document = read_json("status", capsys.readouterr().out)
    assert document["releases"] == [1] and document["latest"]["counts"]["quarantined"] == 1 and document["builds"] == []
    assert main(["verify", *output]) == DONE
    printed = capsys.readouterr()
    document = read_json("verify", printed.out)
    assert (document["release"], document["samples"], document["problems"]) == (1, 1, [])
    assert "no problems" in printed.err
    assert main(["gc", *output, "--older-than", "0", "--dry-run"]) == DONE
    document = read_json("gc", capsys.readouterr().out)
    assert document["dry_run"] and document["bytes"] == sum(item["bytes"] for item in document["objects"])


def test_a_failed_command_leaves_standard_output_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--output", str(tmp_path / "corpus"), "--json"]) == UNUSABLE
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ")


def test_plan_projects_and_builds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--input", str(KENNEDY), "--sample-minutes", "1"]) == DONE
    printed = capsys.readouterr().out
    for words in ("1 recording, 11 s", "11 s accepted in 1 sample,", "transcribe", "× real time per worker", "On this machine"):
        assert words in printed, printed


def test_status_names_release_units_and_hours(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--output", str(corpus)]) == DONE
    printed = capsys.readouterr().out
    assert "1 release, 1 finished unit " in printed and "1 done, 0 partial, 1 quarantined" in printed


def test_verify_finds_a_changed_byte(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--output", str(corpus)]) == DONE
    shard = next((corpus / "shards").rglob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    try:
        assert main(["verify", "--output", str(corpus)]) == WRONG
        assert shard.name in capsys.readouterr().out
        assert main(["verify", "--output", str(corpus), "--json"]) == WRONG
        document = read_json("verify", capsys.readouterr().out)
        assert any(shard.name in problem["where"] for problem in document["problems"])
    finally:
        shard.write_bytes(whole)


def test_the_printed_configuration_is_the_default_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == DONE
    (tmp_path / "corpus.yaml").write_text(capsys.readouterr().out)
    assert CorpusConfig.from_yaml(tmp_path / "corpus.yaml") == CorpusConfig()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("segment:\n  max_s: 100\n", "segment.max_s"),
        ("cuts: {}\n", "cuts"),
        ("tokenize:\n  codec: /nowhere/codec.safetensors\n", "a model cannot be loaded"),
    ],
)
def test_what_cannot_be_used_is_named(config: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus.yaml").write_text(config)
    arguments = ["--input", str(KENNEDY), "--output", str(tmp_path / "out"), "--config", str(tmp_path / "corpus.yaml")]
    assert main(["build", *arguments, "--direct_num_workers=1"]) == UNUSABLE
    assert words in capsys.readouterr().err


def test_codec_of_the_command_line_overrides_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--input", str(KENNEDY), "--output", str(tmp_path / "out"), "--codec", "/nowhere/codec.th"]
    assert main(["build", *arguments, "--direct_num_workers=1"]) == UNUSABLE
    assert "there is no model at /nowhere/codec.th" in capsys.readouterr().err


def test_an_empty_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--input", str(tmp_path), "--output", str(tmp_path / "out")]) == UNUSABLE
    assert "no recordings in" in capsys.readouterr().err
