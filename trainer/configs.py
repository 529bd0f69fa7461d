"""Configurations of a training run, as plain dataclasses. `python -m trainer fit --config NAME` takes one by its name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from voxbeam.models.transformer import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a run depends on besides its data. Defaults are the paper's (arXiv 2301.02111, section 5.1) where it tells them."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    codebook_size: int = 1024
    """size of a codebook"""
    train_models: tuple[str, ...] = ("ar", "nar")
    """trained together or apart, with the same result: they share the batches and nothing else"""
    steps: int = 800_000
    learning_rate: float = 5e-4
    """at the end of the warm-up; from there it falls along a line to 0 at the last step"""
    warmup_steps: int = 32_000
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    """of matrices; gains and biases do not decay"""
    max_grad_norm: float = 1.0
    """largest norm of a model's gradient"""
    ema_decay: float = 0.999
    """decay of the averaged weights, which are validated and speak"""
    batch_frames: int = 96_000
    """frames of a step on all ranks together at most, padding included: the same whatever the number of ranks"""
    rank_frames: int = 6_000
    """frames of a micro-batch at most: what one device can hold; what a rank has beyond is accumulated"""
    prompt_fraction: float = 0.2
    """share of utterances that stand behind another of their speaker, as they will when the model speaks"""
    bf16: bool = True
    """autocast; weights and optimizer stay float32"""
    compile: bool = False
    """compile the transformer's layers"""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """with more than one rank: whole models on each, or sharded by layer"""
    log_every: int = 50
    validate_every: int = 5_000
    validate_batches: int = 50
    save_every: int = 2_000
    keep_last: int = 3
    """checkpoints"""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.train_models or not set(self.train_models) <= {"ar", "nar"}:
            raise ValueError(f"train_models {self.train_models} must be some of ar, nar")
        if not 0 < self.warmup_steps <= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must lie between 1 and the {self.steps} steps")
        if self.parallel not in ("ddp", "fsdp"):
            raise ValueError(f"parallel {self.parallel!r} is neither ddp nor fsdp")


def overfit_cpu() -> TrainConfig:
    """Learns a few minutes of speech by heart on one CPU core, in minutes."""
    return TrainConfig(
        transformer=TransformerConfig(n_layers=3, n_heads=4, d_model=128, d_ff=512, dropout=0.0),
        steps=1_000,
        learning_rate=2e-3,
        warmup_steps=50,
        ema_decay=0.99,
        batch_frames=3_000,
        rank_frames=3_000,
        bf16=False,
        log_every=10,
        validate_every=200,
        validate_batches=4,
        save_every=100,
    )


def small_cpu() -> TrainConfig:
    """About an hour of speech on one CPU core, in a quarter of one, without learning it by heart."""
    small = overfit_cpu()
    return replace(
        small,
        transformer=replace(small.transformer, dropout=0.2),
        steps=600,
        learning_rate=1e-3,
        weight_decay=0.3,
        validate_every=50,
        validate_batches=8,
    )


def libritts_1gpu() -> TrainConfig:
    """LibriTTS's 585 hours at paper size on one 80 GB GPU: 12 layers, 16 heads, width 1024; not run by us yet."""
    return TrainConfig(steps=200_000, warmup_steps=8_000, batch_frames=48_000, rank_frames=24_000, compile=True)


def librilight_16gpu() -> TrainConfig:
    """The paper's run: LibriLight's 60,000 hours, 16 GPUs, 6,000 acoustic tokens each; not run by us yet."""
    return TrainConfig(compile=True, parallel="fsdp")


CONFIGS = {preset.__name__: preset for preset in (overfit_cpu, small_cpu, libritts_1gpu, librilight_16gpu)}


def changed(config: TrainConfig, settings: list[str]) -> TrainConfig:
    """The configuration with settings such as `steps=500` or `train_models=ar`. Raises ValueError, naming what there is."""
    known = {item.name: getattr(config, item.name) for item in fields(config) if item.name not in ("transformer", "betas")}
    values: dict[str, object] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise ValueError(f"there is no setting {name!r}; there are {', '.join(known)}")
        old = known[name]
        if isinstance(old, bool):
            if text not in ("true", "false"):
                raise ValueError(f"{name} is true or false, not {text!r}")
            values[name] = text == "true"
        else:
            values[name] = tuple(text.split(",")) if isinstance(old, tuple) else type(old)(text)
    return replace(config, **values)  # type: ignore[arg-type]
