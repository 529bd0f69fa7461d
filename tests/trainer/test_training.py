"""A run is the same whether interrupted or not, on one rank or two, with one micro-batch or several."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from voxbeam.models import checkpoint
from voxbeam.models.checkpoint import checkpoint_store
from voxbeam.models.load_valle import load_models
from voxbeam.models.threads import pin_threads
from voxbeam.schemas.errors import CheckpointError
from voxbeam.storage.store import Store
from voxbeam.trainer.configs import CONFIGS, TrainConfig, apply_overrides
from voxbeam.trainer.optimization import learning_rate
from voxbeam.trainer.training import Progress

from tests.servers.processes import wait_for
from tests.trainer.factories import CONFIG, MODEL, make_trainer

ROOT = Path(__file__).resolve().parents[2]
QUIET = replace(CONFIG, log_every=1000, validate_every=1000, save_every=1000)


def final(folder: Path, step: int | None = None) -> dict[str, Tensor]:
    return checkpoint.read(checkpoint_store(str(folder)), step).tensors


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    folder = tmp_path_factory.mktemp("whole")
    pin_threads()  # the fixture that pins them for every test comes after a module's
    make_trainer(str(folder), QUIET).train()
    return final(folder)


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, uninterrupted: dict[str, Tensor]) -> None:
    run = make_trainer(str(tmp_path), replace(QUIET, save_every=3))
    steps = run.train_source

    def dies_after_five(start: int):
        for number, step in enumerate(steps(start)):
            if number == 5:
                raise KeyboardInterrupt
            yield step

    run.train_source = dies_after_five
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert checkpoint.saved_steps(run.store) == [3]
    assert make_trainer(str(tmp_path), QUIET).train() == Progress(8, 8)
    assert_same(final(tmp_path), uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_goes_on_where_it_was(tmp_path: Path, sent: signal.Signals) -> None:
    steps = 400
    child = started(tmp_path, steps)
    store = checkpoint_store(str(tmp_path))
    wait_for(lambda: len(checkpoint.saved_steps(store)) >= 2, 60, "two checkpoints")
    child.send_signal(sent)
    status = child.wait(timeout=60)
    reached = checkpoint.saved_steps(store)[-1]
    assert 0 < reached < steps
    assert status == (0 if sent == signal.SIGTERM else -signal.SIGKILL)
    # three more steps by the resumed run, and the same total by an uninterrupted one
    config = replace(CONFIG, steps=steps, log_every=1000, validate_every=1000, save_every=1000)
    for folder, run_steps in ((tmp_path, 3), (tmp_path / "whole", reached + 3)):
        run = make_trainer(str(folder), config)
        stop_after(run, run_steps)
        run.train()
    assert_same(final(tmp_path), final(tmp_path / "whole"))


def stop_after(run, steps: int) -> None:
    """As if SIGTERM came during the last of these steps."""
    source = run.train_source

    def counted(start: int):
        for number, step in enumerate(source(start)):
            run.stopping = number == steps
            yield step

    run.train_source = counted


def started(folder: Path, steps: int) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.trainer.factories", str(folder), str(steps), "1"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_pieces_of_a_step_change_nothing(tmp_path: Path) -> None:
    """Without dropout, the gradient in pieces is that of the whole batch: a mean of means would be another one."""
    config = without_dropout(replace(QUIET, steps=1, warmup_steps=1))
    for name, pieces in (("whole", 1), ("pieces", 5)):  # four utterances: the fifth piece is empty
        make_trainer(str(tmp_path / name), config, pieces=pieces).train()
    assert_close(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path: Path) -> None:
    """Two gloo ranks with three micro-batches each, with the settings of the largest preset, and validated after every step.

    Neither changes the run; and the checkpoint of the two also continues on one.
    """
    config = replace(
        CONFIGS["librilight_16gpu"](),
        **{name: getattr(QUIET, name) for name in ("codebook_size", "learning_rate", "log_every", "save_every", "bf16")},
        transformer=replace(QUIET.transformer, dropout=0.0),
        steps=4,
        warmup_steps=1,
        compile=False,
        ema_decay=0.5,
    )
    make_trainer(str(tmp_path / "one"), replace(config, validate_every=1000)).train()
    mp.start_processes(run_rank, (str(tmp_path), replace(config, validate_every=1)), nprocs=2, start_method="spawn")
    assert_close(tmp_path / "one", tmp_path / "two", 1e-3)
    assert make_trainer(str(tmp_path / "two"), replace(config, steps=5)).train() == Progress(5, 5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_layers_make_the_same_run(tmp_path: Path) -> None:
    config = without_dropout(replace(QUIET, steps=1, warmup_steps=1))
    make_trainer(str(tmp_path / "plain"), config).train()
    make_trainer(str(tmp_path / "compiled"), replace(config, compile=True)).train()
    assert_close(tmp_path / "plain", tmp_path / "compiled")


@pytest.mark.slow
def test_half_precision_learns_the_same(tmp_path: Path) -> None:
    config = without_dropout(replace(QUIET, steps=20))
    runs = [make_trainer(str(tmp_path / str(bf16)), replace(config, bf16=bf16)) for bf16 in (False, True)]
    whole, half = ([run.train() and run.validate()[f"valid/loss/{book}"] for book in range(8)] for run in runs)
    assert whole != half and whole == pytest.approx(half, rel=0.01)
    assert {value.dtype for value in runs[1].states[0].parameters.values()} == {torch.float32}


def run_rank(rank: int, folder: str, config: TrainConfig) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    make_trainer(f"{folder}/two", config, rank=rank, world=2, pieces=3).train()
    dist.destroy_process_group()


def without_dropout(config: TrainConfig) -> TrainConfig:
    return replace(config, transformer=replace(config.transformer, dropout=0.0))


def assert_close(one: Path, two: Path, tolerance: float = 1e-5) -> None:
    ours, theirs = final(one), final(two)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if "moment1" in name:  # nine tenths of the last gradient: Adam's step would turn rounding of a zero into a whole step
            difference, size = (theirs[name] - value).norm(), value.norm()
            assert difference <= tolerance * size + 1e-9, (name, difference, size)


def test_stopped_before_its_first_step(tmp_path: Path) -> None:
    run = make_trainer(str(tmp_path), QUIET)
    run.stopping = True
    assert run.train() == Progress(0, 0)
    assert checkpoint.saved_steps(run.store) == []


@pytest.mark.slow
def test_a_finished_run_does_nothing_more(tmp_path: Path) -> None:
    make_trainer(str(tmp_path), QUIET).train()
    before = final(tmp_path)
    assert make_trainer(str(tmp_path), QUIET).train() == Progress(8, 8)
    assert_same(final(tmp_path), before)


@pytest.mark.slow
def test_together_or_apart(tmp_path: Path, uninterrupted: dict[str, Tensor]) -> None:
    for name in ("ar", "nar"):
        make_trainer(str(tmp_path / name), replace(QUIET, train_models=(name,))).train()
    assert_same(final(tmp_path / "ar") | final(tmp_path / "nar"), uninterrupted)


@pytest.mark.slow
def test_validation_covers_every_codebook_and_changes_nothing(tmp_path: Path) -> None:
    run = make_trainer(str(tmp_path), QUIET)
    before = {name: value.clone() for learner in run.states for name, value in learner.parameters.items()}
    metrics = run.validate()
    assert {name for name in metrics if "top10" in name} == {f"valid/top10/{book}" for book in range(8)}
    assert all(0 <= metrics[f"valid/top1/{book}"] <= metrics[f"valid/top10/{book}"] <= 1 for book in range(8))
    assert metrics == run.validate()
    assert all(torch.equal(before[name], value) for learner in run.states[1:] for name, value in learner.parameters.items())


@pytest.mark.slow
def test_another_model_is_refused(tmp_path: Path) -> None:
    make_trainer(str(tmp_path), replace(QUIET, steps=2)).train()
    with pytest.raises(CheckpointError, match=r"seed was 0 and is 1; .*choose another folder"):
        make_trainer(str(tmp_path), replace(QUIET, seed=1)).train()


@pytest.mark.slow
def test_averaged_weights_are_loaded(tmp_path: Path) -> None:
    make_trainer(str(tmp_path), QUIET).train()
    ar, nar, config = load_models(str(tmp_path))
    assert config == MODEL
    held = final(tmp_path)
    assert torch.equal(ar.code_embedding.weight, held["ar/average/code_embedding.weight"])
    assert torch.equal(nar.code_embeddings_KVD, held["nar/average/code_embeddings_KVD"])
    assert not torch.equal(held["nar/average/code_embeddings_KVD"], held["nar/weight/code_embeddings_KVD"])


@pytest.mark.slow
def test_models_of_separate_runs_are_loaded_together(tmp_path: Path) -> None:
    make_trainer(str(tmp_path / "both"), replace(QUIET, steps=2)).train()
    make_trainer(str(tmp_path / "apart" / "ar"), replace(QUIET, steps=2, train_models=("ar",))).train()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*apart/nar"):
        load_models(str(tmp_path / "apart"))
    make_trainer(str(tmp_path / "apart" / "nar"), replace(QUIET, steps=2, train_models=("nar",))).train()
    for ours, theirs in zip(load_models(str(tmp_path / "apart"))[:2], load_models(str(tmp_path / "both"))[:2], strict=True):
        assert_same(ours.state_dict(), theirs.state_dict())


WRITES_FOR_EVER = """
import sys, torch
from voxbeam.storage.store import Store
from voxbeam.models.checkpoint import Checkpoint, write
for step in range(1, 10**6):
    write(Store(sys.argv[1]), step, Checkpoint({"x": torch.full((1 << 22,), float(step))}, {"step": step}), keep_last=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.013, 0.04])
def test_a_checkpoint_is_whole_or_absent(tmp_path: Path, delay: float) -> None:
    """Killed while it writes 16 MB after 16 MB: whatever is listed can be read."""
    child = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path)], cwd=ROOT)
    store = Store(str(tmp_path))
    wait_for(lambda: len(checkpoint.saved_steps(store)) >= 2, 60, "two checkpoints")
    time.sleep(delay)
    child.kill()
    child.wait()
    steps = checkpoint.saved_steps(store)
    assert 2 <= len(steps) <= 3  # a third when it died between writing and deleting
    for step in steps:
        held = checkpoint.read(store, step)
        assert held.facts["step"] == step
        assert (held.tensors["x"] == step).all()


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / "step-000000001.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="delete it"):
        checkpoint.read(Store(str(tmp_path)))
    torch.save({"x": Trap()}, tmp_path / "step-000000002.safetensors")
    with pytest.raises(CheckpointError):
        checkpoint.read(Store(str(tmp_path)))
    assert not (tmp_path / "sprung").exists()


def test_the_schedule() -> None:
    config = TrainConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.02


def test_settings() -> None:
    config = apply_overrides(CONFIGS["overfit_cpu"](), ["steps=60", "train_models=ar", "bf16=true", "learning_rate=1e-3"])
    assert (config.steps, config.train_models, config.bf16, config.learning_rate) == (60, ("ar",), True, 1e-3)
    for wrong in ("speed=3", "bf16=yes", "steps=1", "train_models=asr"):
        with pytest.raises(ValueError):
            apply_overrides(CONFIGS["overfit_cpu"](), [wrong])
