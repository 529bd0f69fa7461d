"""Gradients and weights that are not numbers: no step is taken with them, nothing of them is saved, and they never rank first."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from voxbeam.models import checkpoint
from voxbeam.models.batch import collate
from voxbeam.models.valle import token_loss
from voxbeam.schemas.errors import TrainingError
from voxbeam.trainer.training import Progress, Trainer, TrainLog
from voxbeam.trainer.validation import total_loss

from tests.trainer.factories import CONFIG, make_trainer, utterance

QUIET = replace(CONFIG, log_every=1, validate_every=1000, save_every=1000, train_models=("ar",))


def spoil_gradients(trainer: Trainer, spoiled: Callable[[int], bool]) -> None:
    """Puts a NaN into one gradient in some of the steps."""

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * math.nan if spoiled(trainer.progress.step) else gradient

    next(iter(trainer.states[0].parameters.values())).register_hook(hook)


def test_a_step_with_a_bad_gradient_changes_no_weight() -> None:
    trainer = make_trainer("/nowhere", QUIET)
    (state,) = trainer.states
    batch = collate([utterance(1), utterance(2)])
    frames = state.count_frames([batch])
    state.update([batch], 0, 0, frames)
    before = state.tensors()
    hook = next(iter(state.parameters.values())).register_hook(lambda gradient: gradient / 0)
    losses, norm = state.update([batch], 1, 0, frames)
    after = state.tensors()
    kept = [name for name in before if "/average/" not in name]  # the average goes on towards the same weights
    assert all(torch.equal(before[name], after[name]) for name in kept) and not norm.isfinite() and losses.frames == 0
    assert int(state.skipped) == 1 and state.is_finite()
    hook.remove()
    state.update([batch], 2, 0, frames)
    assert int(state.skipped) == 0 and not torch.equal(before[kept[0]], state.tensors()[kept[0]])
    assert {int(moments["step"]) for moments in state.optimizer.state.values()} == {2}


def test_skipped_steps_are_counted_and_the_run_goes_on(tmp_path: Path) -> None:
    trainer = make_trainer(str(tmp_path), replace(QUIET, log_every=4))
    spoil_gradients(trainer, lambda step: step in (1, 2, 6))
    assert trainer.train() == Progress(8, 8)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "train/ar/loss" in line]
    assert [line["train/ar/skipped"] for line in trained] == [2, 1]
    assert all(1 < line["train/ar/loss"] < 10 for line in trained)


def test_a_run_of_bad_gradients_ends_and_keeps_its_checkpoints(tmp_path: Path) -> None:
    config = replace(QUIET, steps=100, save_every=2, keep_last=1, max_skipped=3)
    trainer = make_trainer(str(tmp_path), config)
    spoil_gradients(trainer, lambda step: step >= 4)
    with pytest.raises(TrainingError, match=r"of ar were not finite in the last 3 steps, up to step 7; .*learning_rate"):
        trainer.train()
    steps = checkpoint.saved_steps(trainer.store)
    saved = checkpoint.read(trainer.store)
    assert steps and all(value.isfinite().all() for value in saved.tensors.values())


def test_bad_weights_are_not_saved(tmp_path: Path) -> None:
    trainer = make_trainer(str(tmp_path), replace(QUIET, save_every=2, keep_last=1))

    def spoil(log: TrainLog) -> None:
        if log.step == 4:
            next(iter(trainer.states[0].parameters.values())).data[0] = math.inf

    trainer.on_log = spoil
    with pytest.raises(TrainingError, match="weights of ar are not finite after step 4; they are not saved"):
        trainer.train()
    assert checkpoint.saved_steps(trainer.store) == [2]


def test_a_number_that_is_none_never_ranks_first() -> None:
    logits_BTV = torch.tensor([[[math.nan] * 16, [5.0] + [0.0] * 15, [math.nan] + [0.0] * 14 + [9.0]]])
    target_BT, mask_BT = torch.tensor([[3, 0, 15]]), torch.ones(1, 3, dtype=torch.bool)
    sums = token_loss(logits_BTV, target_BT, mask_BT)
    assert (int(sums.frames), int(sums.top1), int(sums.top10)) == (3, 1, 2)
    assert total_loss({"valid/loss/0": math.nan}) == math.inf


def test_the_best_checkpoint_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(str(tmp_path), replace(QUIET, validate_every=1, save_every=1, keep_last=2))
    losses = iter([5.0, 3.0, math.nan, 4.0, 4.0, 6.0, math.inf, 3.5])
    monkeypatch.setattr(trainer, "validate", lambda: {"valid/loss/0": next(losses)})
    trainer.train()
    assert checkpoint.saved_steps(trainer.store) == [2, 7, 8]
    assert checkpoint.best_step(trainer.store) == (2, 3.0)


def test_the_best_of_a_resumed_run_is_the_best_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for steps, loss in ((2, 3.0), (4, 4.0)):
        trainer = make_trainer(str(tmp_path), replace(QUIET, steps=steps, keep_last=1))
        monkeypatch.setattr(trainer, "validate", lambda loss=loss: {"valid/loss/0": loss})
        trainer.train()
    assert checkpoint.saved_steps(trainer.store) == [2, 4] and checkpoint.best_step(trainer.store) == (2, 3.0)
