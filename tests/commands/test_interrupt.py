"""Ctrl-C: one line, exit status 130, and the same command resumes."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from voxbeam.commands.exit_status import DONE, INTERRUPTED
from voxbeam.commands.main import main

from tests.pipeline.test_build import ROOT, SHORT, copy_speakers
from tests.servers.processes import wait_for

LINE = "stopped; run the same command again to resume\n"


@pytest.mark.build
def test_ctrl_c_stops_a_build_of_two_workers_and_it_resumes(tmp_path: Path) -> None:
    """The terminal sends SIGINT to every process of the command."""
    source, output = copy_speakers(tmp_path / "in", *SHORT), tmp_path / "out"
    words = ["build", "--input", str(source), "--output", str(output), "--direct_num_workers=2"]
    process = subprocess.Popen(
        [sys.executable, "beam_runner.py", *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(lambda: any(output.glob("units/*/*/*.arrow")), 240, "a finished unit")
    family = psutil.Process(process.pid).children(recursive=True)
    for member in [psutil.Process(process.pid), *family]:
        if member.is_running():
            member.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == INTERRUPTED
    printed, error = process.communicate(timeout=60)  # the workers have the same pipes, and end after the driver
    assert error.endswith(LINE) and "Traceback" not in printed + error and printed == ""
    _, alive = psutil.wait_procs(family, timeout=15)
    assert not alive
    assert not (output / "releases").exists()

    again = subprocess.run([sys.executable, "beam_runner.py", *words], cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert again.returncode == DONE, again.stderr
    assert "Committed release 000001" in again.stdout


@pytest.mark.parametrize("verb", ["plan", "verify"])
def test_ctrl_c_anywhere_is_one_line(verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("voxbeam.pipeline.plan.discover", interrupt)
    monkeypatch.setattr("voxbeam.storage.releases.load_release", interrupt)
    option = "--input" if verb == "plan" else "--output"
    assert main([verb, option, "x"]) == INTERRUPTED
    assert capsys.readouterr() == ("", LINE)
