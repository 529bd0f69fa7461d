"""A run's folder: what a checkpoint says, who may continue it, one run at a time, and the log of its metrics."""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from voxbeam.models import checkpoint
from voxbeam.models.checkpoint import checkpoint_store
from voxbeam.safety.keys import KeyRing
from voxbeam.safety.tombstones import read_tombstones
from voxbeam.schemas.errors import CheckpointError, LedgerError
from voxbeam.storage.store import Store, _open
from voxbeam.trainer import run_lock
from voxbeam.trainer.training import Progress, Trainer

from tests.safety.ledgers import put_tombstone
from tests.servers.processes import wait_for
from tests.servers.s3 import s3_server
from tests.trainer.factories import CONFIG, PHONES, fake_steps

ROOT = Path(__file__).resolve().parents[2]
SMALL = replace(CONFIG, steps=4, train_models=("ar",), validate_every=2, save_every=2, log_every=1)


def run(folder: Path | str, messages: list[str] | None = None, **changes: Any) -> Trainer:
    arguments: dict[str, Any] = {"phones": PHONES, "data": {"release": 1, "seed": 0}, "config": SMALL} | changes
    config, phones = arguments.pop("config"), arguments.pop("phones")
    told = [] if messages is None else messages
    return Trainer(config, phones, fake_steps, fake_steps, str(folder), on_message=told.append, **arguments)


def test_a_checkpoint_tells_its_run(tmp_path: Path) -> None:
    run(tmp_path).train()
    facts = checkpoint.read(checkpoint_store(str(tmp_path))).facts
    assert facts["model"]["phones"] == PHONES and facts["data"] == {"release": 1, "seed": 0} and facts["step"] == 4
    assert facts["config"]["learning_rate"] == CONFIG.learning_rate and facts["model"]["n_phones"] == len(PHONES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"release": 2, "seed": 0}}, "data.release was 1 and is 2"),
        ({"phones": [*PHONES[:-1], "q"]}, "phones had 20 entries and has 20; the first that differs is number 19"),
        ({"config": replace(SMALL, seed=3)}, "seed was 0 and is 3"),
        (
            {"config": replace(SMALL, transformer=replace(SMALL.transformer, n_layers=1, d_ff=32))},
            "transformer.d_ff was 64 and is 32; transformer.n_layers was 2 and is 1",
        ),
    ],
)
def test_a_run_with_other_settings_is_another_run(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    run(tmp_path).train()
    with pytest.raises(CheckpointError, match=f"has a run with other settings: {message}; give the settings"):
        run(tmp_path, **changes).train()


def test_settings_that_may_change_are_told(tmp_path: Path) -> None:
    run(tmp_path).train()
    messages: list[str] = []
    longer = run(tmp_path, messages, config=replace(SMALL, steps=6, learning_rate=1e-3))
    assert longer.train() == Progress(6, 6)
    told = "Continuing with other settings than before: learning_rate was 0.003 and is 0.001; steps was 4 and is 6"
    assert messages == [told]
    run(tmp_path, messages, config=replace(SMALL, steps=6, learning_rate=1e-3)).train()
    assert messages == [told]


def test_a_run_goes_on_only_with_the_tombstones_that_it_has_seen(tmp_path: Path) -> None:
    store, key = Store(str(tmp_path / "feed")), KeyRing(tmp_path / "keys").operator(make=True)
    for name in ("a", "b"):
        put_tombstone(store, {name: None}, "", key)
    folder, feeds = tmp_path / "run", {store.root: read_tombstones(store)}
    run(folder, tombstones=feeds).train()
    facts = checkpoint.read(checkpoint_store(str(folder))).facts
    assert facts["tombstones"] == [{"feed": store.root, "count": 2, "digest": feeds[store.root].digests[1]}]
    put_tombstone(store, {"c": None}, "", key)
    longer = replace(SMALL, steps=5)
    assert run(folder, tombstones={"s3://moved": read_tombstones(store)}, config=longer).train().step == 5
    store.delete(["tombstones/000003.json", "tombstones/000002.json"])
    for left, said in (({store.root: read_tombstones(store)}, f"{store.root} has 1"), ({}, "none is asked")):
        with pytest.raises(LedgerError, match=f"s3://moved had 3 tombstones, which are not there any more: {said}"):
            run(folder, tombstones=left, config=longer).train()


def test_a_changed_byte_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    run(tmp_path).train()
    path = max((tmp_path / "checkpoints").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    (header,) = struct.unpack("<Q", content[:8])
    content[8 + header + 100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tensors do not have its checksum.*delete it to continue from the previous"):
        run(tmp_path).train()
    path.unlink()
    assert run(tmp_path).train() == Progress(4, 4)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    """A second run in the folder of one that is being made ends with a sentence; one after it may go on."""
    first = run(tmp_path)

    def while_running(state: int) -> Iterator:
        with pytest.raises(CheckpointError, match=rf"is in use by process {os.getpid()} on .*choose another folder"):
            run(tmp_path).train()
        yield from fake_steps(state)

    first.train_source = while_running
    assert first.train() == Progress(4, 4)
    assert run(tmp_path, config=replace(SMALL, steps=5)).train() == Progress(5, 5)


@pytest.mark.s3
def test_a_run_in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics beside the checkpoints, one run at a time; the lock of a process that died is taken over."""
    with s3_server(tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        uri = "s3://corpora/runs/first"
        with run_lock.run_lock(uri), pytest.raises(CheckpointError, match=f"is in use by process {os.getpid()}"):
            run(uri).train()
        run(uri).train()
        store = checkpoint_store(uri)
        assert checkpoint.saved_steps(store) == [2, 4]
        folder = server.folder / "corpora" / "runs" / "first"
        assert steps_of(folder / "metrics.jsonl") == [1, 2, 2, 3, 4, 4]
        (folder / "run.lock").write_bytes(b"process 1 on elsewhere, 0")
        monkeypatch.setattr(run_lock, "_STALE_AFTER_S", -1.0)
        assert run(uri, config=replace(SMALL, steps=5)).train() == Progress(5, 5)
        assert not (folder / "run.lock").exists()
    _open.cache_clear()


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_steps_that_are_made_again_are_logged_once(tmp_path: Path) -> None:
    """Killed in step 4, after the checkpoint of step 2: steps 3 and on are made again."""
    dying = run(tmp_path)

    def dies(state: int) -> Iterator:
        for number, step in enumerate(fake_steps(state)):
            if number == 3:
                raise OSError("killed")
            yield step

    dying.train_source = dies
    with pytest.raises(OSError, match="killed"):
        dying.train()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "tr')  # a line that was being written
    assert run(tmp_path).train() == Progress(4, 4)
    assert steps_of(tmp_path / "metrics.jsonl") == [1, 2, 2, 3, 4, 4]
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/ar/loss")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_ctrl_c_saves(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.trainer.factories", str(tmp_path), "100000", "100000"]
    child = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    log = tmp_path / "metrics.jsonl"
    wait_for(lambda: log.exists() and len(steps_of(log)) > 3, 60, "some steps")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) != 0
    reached = checkpoint.saved_steps(checkpoint_store(str(tmp_path)))
    assert len(reached) == 1 and reached[0] >= 3
