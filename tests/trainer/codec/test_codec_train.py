"""Codec training on real speech (the sample that pyannote.audio ships), small enough for one CPU core."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from voxbeam.commands.main import main
from voxbeam.models.codec import load_codec
from voxbeam.models.codec_model import CodecConfig
from voxbeam.trainer.codec.config import CodecTrainConfig
from voxbeam.trainer.codec.data import AudioUtterance, find_utterances, split_speakers
from voxbeam.trainer.codec.train import CodecTrainer, export, train

TINY = CodecTrainConfig(
    model=CodecConfig(
        layers="frame",
        dimension=32,
        encoder_width=48,
        encoder_blocks=1,
        decoder_width=64,
        decoder_blocks=1,
        codebook_size=32,
    ),
    steps=120,
    codebook_warmup_steps=40,
    init_frames=400,
    batch=2,
    crop_seconds=0.4,
    lr=6e-3,
    lr_warmup_steps=5,
    ema_decay=0.9,
    held_out_speakers=1,
    evaluate_every=60,
    save_every=60,
)
SEANET = replace(TINY, model=CodecConfig(n_filters=4, lstm_layers=0, dimension=32, codebook_size=32), lr=3e-3)
DUEL = replace(TINY, codebook_warmup_steps=2, gan_start=4, discriminator_filters=2)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def held_out_mel(run: CodecTrainer, folder: Path) -> float:
    return run.evaluate(split_speakers(find_utterances(str(folder)), 1)[1])[0]["held_out_mel"]


@pytest.mark.slow
def test_training_halves_the_held_out_distance_and_exports(speech_folder: Path, tmp_path: Path) -> None:
    start = held_out_mel(CodecTrainer(TINY), speech_folder)
    train(TINY, str(speech_folder), tmp_path)
    log = lines(tmp_path)
    assert [line["step"] for line in log] == [60, 120]
    assert log[-1]["held_out_mel"] < 0.5 * start
    assert len(log[-1]["perplexity"]) == 8
    codec = load_codec(tmp_path / "codec_24khz.safetensors")
    assert codec.encode([np.zeros(3_200, np.float32)])[0].shape == (8, 10)
    assert list((tmp_path / "tensorboard").iterdir())


@pytest.mark.slow
def test_seanet_layers_train_by_the_same_code(utterances: Sequence[AudioUtterance], speech_folder: Path) -> None:
    run = CodecTrainer(replace(SEANET, codebook_warmup_steps=30))
    start = held_out_mel(run, speech_folder)
    for _ in range(40):
        run.train_step(utterances)
    assert held_out_mel(run, speech_folder) < 0.8 * start


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [replace(TINY, codebook_warmup_steps=4), replace(SEANET, codebook_warmup_steps=4), DUEL, replace(DUEL, bf16=True)],
    ids=["frame", "seanet", "discriminator", "bfloat16"],
)
def test_a_resumed_run_is_the_uninterrupted_run(
    config: CodecTrainConfig, utterances: Sequence[AudioUtterance], tmp_path: Path
) -> None:
    config = replace(config, steps=12)
    whole = CodecTrainer(config)
    losses = [whole.train_step(utterances) for _ in range(12)]
    broken = CodecTrainer(config)
    for _ in range(7):
        broken.train_step(utterances)
    broken.save(tmp_path / "checkpoint.pt")
    resumed = CodecTrainer.load(tmp_path / "checkpoint.pt")
    assert resumed.config == config
    assert [resumed.train_step(utterances) for _ in range(5)] == losses[7:]
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name


@pytest.mark.slow
def test_the_discriminator_enters_at_its_step_and_learns(utterances: Sequence[AudioUtterance]) -> None:
    run = CodecTrainer(DUEL)
    before = {name: value.clone() for name, value in run.adversarial_loss.discriminator.state_dict().items()}
    losses = [run.train_step(utterances) for _ in range(10)]
    assert ["adversarial" in row for row in losses] == [False] * 4 + [True] * 6
    assert 1 <= sum("discriminator" in row for row in losses) < 6  # it learns in two steps of three
    assert all(np.isfinite(value) for row in losses for value in row.values())
    assert any(not torch.equal(value, before[name]) for name, value in run.adversarial_loss.discriminator.state_dict().items())


def test_the_discriminator_must_wait_for_the_codebooks() -> None:
    with pytest.raises(ValueError, match="before step 40"):
        replace(TINY, gan_start=39)


def test_train_goes_on_from_the_checkpoint_it_finds(speech_folder: Path, tmp_path: Path) -> None:
    config = replace(TINY, steps=4, codebook_warmup_steps=2, evaluate_every=2, save_every=2)
    train(config, str(speech_folder), tmp_path)
    written = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    assert train(config, str(speech_folder), tmp_path).step == 4  # nothing left to do
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == written
    assert [line["step"] for line in lines(tmp_path)] == [2, 4]


def test_a_time_budget_ends_the_run(speech_folder: Path, tmp_path: Path) -> None:
    run = train(replace(TINY, minutes=1 / 60, steps=10_000), str(speech_folder), tmp_path)
    assert 0 < run.step < 1_000
    assert run.learning_rate() < 1e-6


@pytest.mark.slow
def test_the_command_line_trains_and_exports(speech_folder: Path, tmp_path: Path) -> None:
    small = "--layers seanet --n-filters 2 --codebook-size 64 --lstm-layers 0 --held-out-speakers 1"
    short = "--steps 3 --codebook-warmup-steps 1 --batch 16 --crop-seconds 1"
    command = ["codec", "train", "--data", str(speech_folder), "--out", str(tmp_path)]
    assert main([*command, *small.split(), *short.split()]) == 0
    exported = tmp_path / "again.safetensors"
    assert main(["codec", "export", str(tmp_path / "checkpoint.pt"), str(exported)]) == 0
    assert exported.read_bytes() == (tmp_path / "codec_24khz.safetensors").read_bytes()


def test_export_refuses_a_checkpoint_without_codebooks(tmp_path: Path) -> None:
    CodecTrainer(TINY).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="continue training"):
        export(tmp_path / "checkpoint.pt", tmp_path / "codec.safetensors")
