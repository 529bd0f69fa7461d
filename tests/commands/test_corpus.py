"""`voxbeam plan`, `build`, `status`, `verify` and `config`: what they print, and their exit statuses."""

from pathlib import Path

import pytest

from voxbeam import assets
from voxbeam.commands.exit_status import DONE, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.schemas.config import CorpusConfig, load_config

pytestmark = pytest.mark.build

KENNEDY = assets.DEMO / "kennedy"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("corpus")
    assert main(["build", "--input", str(KENNEDY), "--output", str(output), "--direct_num_workers=1"]) == DONE
    return output


def test_plan_projects_and_builds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--input", str(KENNEDY), "--sample-minutes", "1"]) == DONE
    printed = capsys.readouterr().out
    for words in ("1 recording, 11 s", "11 s accepted in 1 sample,", "transcribe", "× real time per worker", "On this machine"):
        assert words in printed, printed


def test_status_names_release_units_and_hours(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--output", str(corpus)]) == DONE
    printed = capsys.readouterr().out
    assert "1 release, 1 finished unit " in printed and "1 done, 0 quarantined" in printed


def test_verify_finds_a_changed_byte(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--output", str(corpus)]) == DONE
    shard = next((corpus / "shards").rglob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    try:
        assert main(["verify", "--output", str(corpus)]) == WRONG
        assert shard.name in capsys.readouterr().out
    finally:
        shard.write_bytes(whole)


def test_the_printed_configuration_is_the_default_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == DONE
    (tmp_path / "corpus.yaml").write_text(capsys.readouterr().out)
    assert load_config(tmp_path / "corpus.yaml") == CorpusConfig()


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
