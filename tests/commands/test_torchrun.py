"""`voxbeam train` in several processes, below torchrun or by itself: two processes, one run."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from voxbeam import assets
from voxbeam.commands.exit_status import DONE
from voxbeam.models.codec import EMBEDDED_WEIGHTS

from tests.pipeline.factories import MODELS, member, release_of
from tests.pipeline.test_build import ROOT, run_build
from tests.servers.processes import wait_for

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


TINY = ["steps=100000", "warmup_steps=1", "log_every=1", "batch_frames=2000", "rank_frames=2000", "save_every=100000"]


@pytest.mark.slow
def test_sigterm_saves_and_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent to the process that started the ranks; the status is theirs."""
    monkeypatch.setitem(MODELS, "tokenize", hashlib.sha256(EMBEDDED_WEIGHTS.read_bytes()).hexdigest())
    store = release_of(tmp_path / "corpus", {"train": [member("r", 5000 * n, ms=4000) for n in range(4)]})
    command = [sys.executable, "-m", "voxbeam", "train", store.root, "--out", str(tmp_path / "run"), "--processes", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VOXBEAM_CACHE": str(tmp_path / "cache")}
    child = subprocess.Popen(
        [*command, "--no-validation", "--set", *TINY], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    log = tmp_path / "run" / "metrics.jsonl"
    wait_for(lambda: child.poll() is not None or (log.exists() and log.read_text().count("\n") > 2), 120, "some steps")
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=120)
    assert child.returncode == DONE, err.decode()
    assert b"of 100000, in" in out and len(list((tmp_path / "run" / "checkpoints").glob("*.safetensors"))) == 1
    assert b"100% of the utterances begin" not in err and b"of the utterances begin with other speech" in err
