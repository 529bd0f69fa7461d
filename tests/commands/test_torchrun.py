"""`voxbeam train` below torchrun: two processes, one run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from voxbeam import assets
from voxbeam.commands.exit_status import DONE

from tests.pipeline.test_build import ROOT, run_build

TORCHRUN = Path(sys.executable).with_name("torchrun")
SETTINGS = ["--set", "steps=2", "warmup_steps=1", "log_every=1", "batch_frames=2000", "rank_frames=2000"]


@pytest.mark.build
@pytest.mark.parametrize("start", [["-m", "voxbeam"], ["--no-python", "voxbeam"]], ids=["module", "script"])
def test_two_processes_train_one_run(start: list[str], tmp_path: Path) -> None:
    run_build(assets.DEMO / "kennedy", tmp_path / "corpus")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "voxbeam"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m voxbeam "$@"\n')
    script.chmod(0o755)
    command = [str(TORCHRUN), "--nproc-per-node", "2", *start, "train", str(tmp_path / "corpus"), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        [*command, "--no-validation", *SETTINGS], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == DONE, done.stderr
    assert done.stdout.count("Step 2 of 2") == 1
    assert list((tmp_path / "run" / "checkpoints").iterdir())
