"""The help of every command: complete, and shown without loading torch or Beam."""

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import click
import pytest

from voxbeam import __version__
from voxbeam.commands.codec import train as codec_train
from voxbeam.commands.codec import train_config
from voxbeam.commands.document import cli_markdown
from voxbeam.commands.exit_status import MEANINGS
from voxbeam.commands.main import main
from voxbeam.commands.train import PRESETS
from voxbeam.trainer.codec.config import CodecTrainConfig
from voxbeam.trainer.configs import CONFIGS

from tests.commands.test_words import COMMANDS
from tests.pipeline.factories import small_release

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "apache_beam", "numpy", "pyarrow", "rich", "obstore", "pydantic"}


@pytest.mark.parametrize("words", ["--version", "--help", *(f"{' '.join(path)} --help" for path in COMMANDS)])
def test_help_imports_nothing_heavy(words: str) -> None:
    code = (
        "import sys; from voxbeam.commands.main import main; status = main(sys.argv[1:]); "
        f"print(sorted({HEAVY} & sys.modules.keys()), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words.split()], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize("program", [["-m", "voxbeam"], ["beam_runner.py"]])
def test_every_way_to_start_is_the_same(program: list[str]) -> None:
    done = subprocess.run([sys.executable, *program, "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"voxbeam {__version__}\n")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_examples_that_parse_and_exit_statuses(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    command = COMMANDS[path]
    assert main([*path, "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {status:<5}{MEANINGS[status]}\n" in printed for status in command.statuses)
    assert command.help and command.examples and all(param.help for param in command.params if isinstance(param, click.Option))
    for example in command.examples:
        assert example.splitlines()[0] in printed
        words = example.replace("\\\n", " ").partition("voxbeam ")[2].partition(" > ")[0]
        arguments = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', words)]
        assert tuple(arguments[: len(path)]) == path
        command.make_context("example", arguments[len(path) :])


def test_help_lists_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {status:<5}{meaning}\n" in printed for status, meaning in MEANINGS.items())


def test_the_document_is_in_step() -> None:
    """If this fails: python -m voxbeam.commands.document."""
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == cli_markdown()


def test_presets_are_those_of_the_trainer() -> None:
    assert tuple(CONFIGS) == PRESETS


def test_defaults_in_the_help_of_codec_train_are_the_librarys() -> None:
    config = asdict(CodecTrainConfig())
    defaults = config | config.pop("model")
    for option in codec_train.params:
        assert isinstance(option, click.Option) and option.help
        if option.name in defaults:
            found = re.search(r"\[default: (.+)\]", option.help)
            value = defaults[option.name]
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert (found[1] if found else "None") == shown or option.is_flag
    assert train_config({"steps": 5, "dimension": 16, "lr": None}).model.dimension == 16


@pytest.mark.slow
def test_no_color_codes_in_a_file(tmp_path: Path) -> None:
    small_release(tmp_path / "corpus")
    with (tmp_path / "out").open("w") as file:
        subprocess.run(
            [sys.executable, "-m", "voxbeam", "status", "--output", str(tmp_path / "corpus")], stdout=file, cwd=ROOT, check=True
        )
    assert "\x1b" not in (tmp_path / "out").read_text() and str(tmp_path) in (tmp_path / "out").read_text()
