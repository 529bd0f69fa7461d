"""Standard streams as shells and services give them: closed, full, or in an encoding without the letters that are written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.test_build import ROOT


def run(words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command of voxbeam in a shell."""
    line = f"{sys.executable} beam_runner.py {words}"
    return subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, env={**os.environ, **environment}, timeout=300)


@pytest.mark.slow
def test_closed_streams_are_no_traceback(corpus_uri: str) -> None:
    """A descriptor that is closed does not become that of a file of the corpus."""
    done = run(f"status --output '{corpus_uri}' >&- 2>&- <&-; echo $?")
    assert done.stdout == b"0\n" and not done.stderr


@pytest.mark.slow
def test_letters_that_an_encoding_lacks_are_escapes(corpus_uri: str) -> None:
    poor = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    query = "SELECT chr(233) AS letter, 1 AS one"
    shown = run(f"show '{corpus_uri}' --sql '{query}'", **poor)
    assert shown.returncode == 0 and b"xe9" in shown.stdout and b"Traceback" not in shown.stderr
    document = json.loads(run(f"show '{corpus_uri}' --sql '{query}' --json", **poor).stdout)
    assert document["rows"] == [{"letter": "é", "one": 1}]


@pytest.mark.slow
def test_what_cannot_be_written_is_a_sentence(corpus_uri: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    done = run(f"status --output '{corpus_uri}' >/dev/full")
    assert done.returncode == 2 and b"No space left on device" in done.stderr and b"Traceback" not in done.stderr
