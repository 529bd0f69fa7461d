"""`voxbeam export` of a corpus, and `voxbeam audit`: what they print, what they refuse, and their exit statuses."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from voxbeam.audit.open import open_audit
from voxbeam.commands import audit as audit_command
from voxbeam.commands import export as export_command
from voxbeam.commands.documents import FIELDS
from voxbeam.commands.exit_status import DONE, INTERRUPTED, UNUSABLE, WRONG
from voxbeam.commands.main import main
from voxbeam.corpus import Corpus
from voxbeam.exports.export import FORMATS
from voxbeam.exports.sound import SOUNDS

from tests.spoken_release import spoken_release

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(spoken_release(tmp_path_factory.mktemp("spoken"), moved=True).uri)


@pytest.fixture
def corpus(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    shutil.copytree(original, tmp_path / "corpus")
    return tmp_path / "corpus"


def test_the_options_choices_are_those_of_the_library() -> None:
    assert tuple(FORMATS) == export_command.CORPUS_FORMATS and tuple(SOUNDS) == export_command.SOUNDS
    assert set(audit_command.SOUNDS) <= set(SOUNDS)


def test_an_export_says_where_its_audio_is_from(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(corpus), "--format", "shar", "--out", str(tmp_path / "out")]
    assert main(words) == DONE
    printed = capsys.readouterr().out
    assert "shar of release 000001 written, 8 samples" in printed and "Audio: the FLAC that was kept in the shard" in printed
    assert main(words) == DONE and "was complete already" in capsys.readouterr().out
    assert main([*words, "--audio", "none"]) == UNUSABLE
    assert "holds another export" in capsys.readouterr().err
    words[-1] = str(tmp_path / "moved")
    assert main([*words, "--codec-name", "move"]) == UNUSABLE
    assert "has no further codec 'move'" in capsys.readouterr().err
    assert main([*words, "--codec-name", "moved"]) == UNUSABLE and not (tmp_path / "moved").exists()
    assert main([*words, "--codec-name", "moved", "--audio", "codes"]) == DONE
    assert "Audio: decoded from the codec tokens of moved" in capsys.readouterr().out


def test_croissant_is_written_into_the_corpus(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = tmp_path / "about.yaml"
    about.write_text("url: https://example.org\ndatePublished: 2026-11-26\ncreator: {'@type': Organization, name: Us}\n")
    assert main(["export", str(corpus), "--format", "croissant", "--about", str(about)]) == DONE
    tree = json.loads((corpus / "croissant.json").read_bytes())
    assert (tree["url"], tree["datePublished"], tree["creator"]["name"]) == ("https://example.org", "2026-11-26", "Us")
    assert (corpus / "README.md").read_text(encoding="utf-8").startswith("---\npretty_name: corpus, release 000001\n")
    about.write_text("recordSet: []\n")
    assert main(["export", str(corpus), "--format", "croissant", "--about", str(about)]) == UNUSABLE
    assert "'recordSet' cannot be stated" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--out", "out"], "does not end in .safetensors; for a corpus, name one of the others with --format"),
        (["run", "--out", "a.safetensors", "--audio", "kept"], "--audio belongs to a corpus"),
        (["run"], "--out is missing: name a file"),
        (["corpus", "--format", "shar"], "--out is missing: name an empty folder"),
        (["corpus", "--format", "shar", "--out", "o", "--card", "c.md"], "--card belongs to a model"),
        (["corpus", "--format", "shar", "--out", "o", "--about", "a.yaml"], "--about belongs to --format croissant"),
        (["corpus", "--format", "croissant", "--out", "o"], "--out has no use here"),
        (["corpus", "--format", "croissant", "--codec-name", "moved"], "--codec-name has no use here"),
        (["run", "--out", "a.safetensors", "--codec-name", "moved"], "--codec-name belongs to a corpus"),
        (["nowhere", "--format", "shar", "--out", "o"], "there is no corpus at"),
    ],
)
def test_what_does_not_belong_together(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == UNUSABLE
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_result_of_an_audit(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(corpus), "--result"]) == UNUSABLE
    assert "nobody has listened to release 000001" in capsys.readouterr().err
    session = open_audit(Corpus(str(corpus)), who="Ann")
    for number, answer in enumerate(["noise", "wrong_text", *["right"] * 6]):
        session.answer(number, answer)
    assert main(["audit", str(corpus), "--result", "--json"]) == DONE
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert list(document) == list(FIELDS["audit"]) and (document["judged"], document["clips"]) == (8, 8)
    assert document["label_error"] == {"rate": 0.25, "low": 0.25, "high": 0.25}
    assert "label error 25.0 % (25.0–25.0)" in captured.err and "all, best 60 %" in captured.err
    overlay = tmp_path / "audit.jsonl"
    assert main(["audit", str(corpus), "--corrections", str(overlay)]) == DONE
    assert [json.loads(line)["reason"] for line in overlay.read_text().splitlines()].count("audit: noise") == 1
    assert main(["audit", str(corpus), "--corrections", str(overlay)]) == UNUSABLE and "exists" in capsys.readouterr().err
    assert main(["export", str(corpus), "--format", "croissant"]) == DONE
    assert "Label error: 25.0 %" in (corpus / "README.md").read_text(encoding="utf-8")
    row = next(path for path in (corpus / "audits").rglob("*.json") if path.name == "000003.json")
    row.write_bytes(row.read_bytes().replace(b'"right"', b'"noise"'))
    assert main(["audit", str(corpus), "--result"]) == WRONG
    assert "000003.json was changed after it was signed" in capsys.readouterr().err
    assert main(["audit", str(corpus), "--corrections", str(tmp_path / "other.jsonl")]) == UNUSABLE
    assert main(["audit", str(corpus), "--json"]) == UNUSABLE and "--json needs --result" in capsys.readouterr().err


def test_the_page_is_served_until_it_is_stopped(corpus: Path) -> None:
    command = [sys.executable, "beam_runner.py", "audit", str(corpus), "--clips", "3", "--name", "Ann"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        address = lines[1].removeprefix("Open this page: ").strip()
        assert lines[0] == "Audit of release 000001: 0 of 3 clips answered\n" and address.startswith("http://127.0.0.1:")
        assert b"voxbeam audit" in urllib.request.urlopen(address, timeout=10).read()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == INTERRUPTED
