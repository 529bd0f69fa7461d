"""Codec training on real speech (the sample that pyannote.audio ships), small enough for one CPU core."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyannote.audio
import pytest
import soundfile as sf
import torch

from assets.encodec_model import CodecConfig, load_codec
from trainer.__main__ import main
from trainer.codec import (
    Codebooks,
    Run,
    TrainConfig,
    draw_batch,
    export,
    load_speakers,
    mel_distance,
    mel_filters,
    perplexity,
    split_speakers,
    train,
)

SAMPLE = next((Path(pyannote.audio.__file__).parent / "sample").glob("*.wav"))
TINY = TrainConfig(
    model=CodecConfig(n_filters=4, lstm_layers=0, dimension=32, codebook_size=32),
    steps=60,
    warm_steps=30,
    seed_frames=400,
    batch=2,
    crop_seconds=0.4,
    lr=3e-3,
    lr_warmup=5,
    ema=0.9,
    held_out_speakers=1,
    evaluate_every=20,
    save_every=20,
)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three "speakers" of a few seconds each, as wav and flac."""
    folder = tmp_path_factory.mktemp("speech")
    audio, rate = sf.read(SAMPLE, dtype="float32")
    for index, name in enumerate(("1-a.flac", "2-a.wav", "3-a.flac")):
        sf.write(folder / name, audio[index * 8 * rate : (index * 8 + 4) * rate], rate)
    return folder


@pytest.fixture(scope="session")
def waves(speech: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return split_speakers(load_speakers(speech), 1)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_training_lowers_the_held_out_distance_and_exports(speech: Path, tmp_path: Path) -> None:
    start = Run(TINY).evaluate(split_speakers(load_speakers(speech), 1)[1])["held_out_mel"]
    train(TINY, speech, tmp_path)
    log = lines(tmp_path)
    assert [line["step"] for line in log] == [20, 40, 60]
    assert log[-1]["held_out_mel"] < 0.8 * start
    assert len(log[-1]["perplexity"]) == 8
    codec = load_codec(tmp_path / "codec_24khz.safetensors")
    assert codec.encode([np.zeros(3_200, np.float32)])[0].shape == (8, 10)


def test_a_resumed_run_is_the_uninterrupted_run(waves: tuple[list[np.ndarray], list[np.ndarray]], tmp_path: Path) -> None:
    config = replace(TINY, warm_steps=4, steps=12)
    whole = Run(config)
    losses = [whole.train_step(waves[0]) for _ in range(12)]
    broken = Run(config)
    for _ in range(7):
        broken.train_step(waves[0])
    broken.save(tmp_path / "checkpoint.pt")
    resumed = Run.load(tmp_path / "checkpoint.pt")
    assert resumed.config == config
    assert [resumed.train_step(waves[0]) for _ in range(5)] == losses[7:]
    for name, value in whole.average.items():
        assert torch.equal(value, resumed.average[name]), name


def test_train_goes_on_from_the_checkpoint_it_finds(speech: Path, tmp_path: Path) -> None:
    config = replace(TINY, steps=4, warm_steps=2, evaluate_every=2, save_every=2)
    train(config, speech, tmp_path)
    written = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    assert train(config, speech, tmp_path).step == 4  # nothing left to do
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == written
    assert [line["step"] for line in lines(tmp_path)] == [2, 4]


def test_a_time_budget_ends_the_run(speech: Path, tmp_path: Path) -> None:
    run = train(replace(TINY, minutes=1 / 60, steps=10_000), speech, tmp_path)
    assert 0 < run.step < 1_000
    assert run.learning_rate() < 1e-6


def test_the_command_line_trains_and_exports(speech: Path, tmp_path: Path) -> None:
    small = "--n-filters 2 --codebook-size 64 --lstm-layers 0 --held-out-speakers 1"
    short = "--steps 3 --warm-steps 1 --batch 16 --crop-seconds 1"
    assert main(["codec", "train", "--data", str(speech), "--out", str(tmp_path), *small.split(), *short.split()]) == 0
    exported = tmp_path / "again.safetensors"
    assert main(["codec", "export", str(tmp_path / "checkpoint.pt"), str(exported)]) == 0
    assert exported.read_bytes() == (tmp_path / "codec_24khz.safetensors").read_bytes()


def test_export_refuses_a_checkpoint_without_codebooks(tmp_path: Path) -> None:
    Run(TINY).save(tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="train on"):
        export(tmp_path / "checkpoint.pt", tmp_path / "codec.safetensors")


def test_no_speaker_is_on_both_sides(speech: Path) -> None:
    speakers = load_speakers(speech)
    assert sorted(speakers) == ["1", "2", "3"]
    kept, held = split_speakers(speakers, 1)
    assert (len(kept), len(held)) == (2, 1)
    # The same speakers stay held out when the folder grows.
    grown = speakers | {"zzz": speakers["1"]}
    assert any(held[0] is wave for wave in split_speakers(grown, 2)[1])
    with pytest.raises(ValueError, match="--held-out-speakers"):
        split_speakers(speakers, 3)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.flac or \.wav"):
        load_speakers(tmp_path)


def test_a_batch_is_a_function_of_seed_and_step(waves: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    assert torch.equal(draw_batch(waves[0], TINY, 5), draw_batch(waves[0], TINY, 5))
    assert not torch.equal(draw_batch(waves[0], TINY, 5), draw_batch(waves[0], TINY, 6))
    assert draw_batch(waves[0], TINY, 5).shape == (2, 1, 9_600)


def test_mel_distance_is_zero_only_for_the_same_sound() -> None:
    x = 0.1 * torch.randn(1, 1, 9_600, generator=torch.Generator().manual_seed(0))
    assert mel_distance(x, x) == 0
    assert mel_distance(x, 0.5 * x) > 0.5  # ln 2, less what lies near the floor


@pytest.mark.parametrize(("window", "bands"), [(128, 20), (2048, 128)])
def test_every_mel_band_hears_something(window: int, bands: int) -> None:
    torch.testing.assert_close(mel_filters(window, bands).sum(dim=0), torch.ones(bands))


def test_codebooks_find_the_clusters_and_restart_the_dead() -> None:
    run = Run(replace(TINY, model=CodecConfig(n_filters=2, lstm_layers=0, dimension=8, codebook_size=16)))
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(16, 8, generator=rng)
    vectors = centres.repeat(50, 1) + 0.01 * torch.randn(800, 8, generator=rng)
    books = Codebooks(run.model)
    books.seed(vectors, rng)
    error = (vectors - books.books[0].embed_VD[books.books[0].nearest(vectors)]).square().mean()
    assert error < 0.5 * vectors.var()
    z_BDT = vectors.T[None]
    quantized, commit = books.quantize(z_BDT, n_books=8)
    assert (quantized - z_BDT).square().mean() < 0.01 * vectors.var()
    assert commit >= 0
    books.books[0].count_V[3] = 0
    books.restart_dead(z_BDT, rng)
    assert books.books[0].count_V[3] == 1
    assert (vectors - books.books[0].embed_VD[3]).abs().sum(dim=1).min() == 0


def test_the_straight_through_gradient_is_the_identity() -> None:
    run = Run(TINY)
    z_BDT = torch.randn(1, 32, 40, requires_grad=True)
    Codebooks(run.model).quantize(z_BDT, n_books=8)[0].sum().backward()
    assert z_BDT.grad is not None
    assert torch.equal(z_BDT.grad, torch.ones_like(z_BDT))


def test_perplexity_counts_codes_in_use() -> None:
    assert perplexity(torch.arange(16).repeat(3)) == pytest.approx(16)
    assert perplexity(torch.zeros(10, dtype=torch.long)) == pytest.approx(1)
