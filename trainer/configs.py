"""Settings of a training run, and named presets (`voxbeam train --config NAME`)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from voxbeam.models.transformer import TransformerConfig
from voxbeam.schemas.errors import ConfigError

_AT_LEAST_ONE = (
    *("steps", "batch_frames", "rank_frames", "codebook_size", "max_skipped"),
    *("cache_gb", "log_every", "validate_every", "validate_batches", "save_every", "keep_last"),
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that a run depends on besides its data.

    The defaults are VALL-E's (arXiv 2301.02111, section 5.1) where the paper states them. Raises ConfigError for values that
    contradict each other.
    """

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    codebook_size: int = 1024
    """codes per codebook"""
    train_models: tuple[str, ...] = ("ar", "nar")
    """models to train; together or in separate runs gives the same result, since they share only the batches"""
    steps: int = 800_000
    learning_rate: float = 5e-4
    """peak, at the end of the warm-up; then linear decay to 0 at the last step"""
    warmup_steps: int = 32_000
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    """of matrices; gains and biases are not decayed"""
    max_grad_norm: float = 1.0
    """gradient clipping, per model"""
    ema_decay: float = 0.999
    """decay of the averaged weights, which are validated and used for synthesis"""
    batch_frames: int = 96_000
    """maximum frames of a step over all ranks, padding included; independent of the number of ranks"""
    rank_frames: int = 6_000
    """maximum frames of a micro-batch, which must fit one device; a rank accumulates gradients over its micro-batches"""
    prompt_fraction: float = 0.2
    """fraction of utterances that are preceded by other speech of the same person, as in synthesis"""
    data_filter: str = ""
    """SQL condition on columns of `samples` (docs/columns.md), such as "license = 'CC-BY-4.0' AND snr_db > 20"; samples for which
    it does not hold are left out, in training and in validation"""
    lora_rank: int = 0
    """rank of the adapters of a fine-tuning; 0 trains all weights"""
    lora_alpha: float = 16.0
    """an adapter's correction is multiplied by this divided by the rank"""
    bf16: bool = True
    """autocast to bfloat16; weights and optimizer stay float32"""
    compile: bool = False
    """compile the Transformer layers"""
    max_skipped: int = 20
    """steps in a row whose gradient is not finite, after which the run stops; such a step changes no weight"""
    log_every: int = 50
    validate_every: int = 5_000
    validate_batches: int = 50
    validate_sentences: int = 0
    """utterances of the valid split that are spoken and transcribed at every validation; a second or two each on one CPU core"""
    save_every: int = 2_000
    keep_last: int = 3
    """number of checkpoints to keep, besides the one with the lowest validation loss"""
    cache_gb: int = 32
    """size of the local cache for a corpus in a bucket; one that holds the corpus is filled once: 4.3 GB for 1,000 hours"""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.train_models or not set(self.train_models) <= {"ar", "nar"}:
            raise ConfigError(f"train_models {self.train_models} must be one or both of ar and nar")
        if not 0 < self.warmup_steps <= self.steps:
            raise ConfigError(f"warmup_steps {self.warmup_steps} must be between 1 and the {self.steps} steps")
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, and must be at least 1")
        for name in ("prompt_fraction", "ema_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, and must be between 0 and 1")
        if self.validate_sentences < 0 or (self.validate_sentences and set(self.train_models) != {"ar", "nar"}):
            raise ConfigError("validate_sentences must not be below 0, and needs a run that trains both ar and nar")
        if self.lora_rank < 0 or not self.lora_alpha > 0:
            raise ConfigError("lora_rank must not be below 0, and lora_alpha above it")
        if not (self.learning_rate > 0 and self.max_grad_norm > 0 and self.weight_decay >= 0):
            raise ConfigError("learning_rate and max_grad_norm must be above 0, and weight_decay not below")


def has_fast_bf16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32, as Linux tells it."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(f" {flag}" in flags for flag in ("avx512_bf16", "amx_bf16"))


def overfit_cpu() -> TrainConfig:
    """Memorizes a few minutes of speech on one CPU core, in minutes. In bfloat16 where that is faster."""
    return TrainConfig(
        transformer=TransformerConfig(n_layers=3, n_heads=4, d_model=128, d_ff=512, dropout=0.0),
        steps=1_000,
        learning_rate=2e-3,
        warmup_steps=50,
        ema_decay=0.99,
        batch_frames=3_000,
        rank_frames=3_000,
        bf16=has_fast_bf16(),
        log_every=10,
        validate_every=200,
        validate_batches=4,
        save_every=100,
    )


def small_cpu() -> TrainConfig:
    """About an hour of speech on one CPU core in a quarter of an hour, with enough regularization not to memorize it."""
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
    """The 585 hours of LibriTTS at the paper's model size on one 80 GB GPU. Not run yet."""
    return TrainConfig(steps=200_000, warmup_steps=8_000, batch_frames=48_000, rank_frames=24_000, compile=True)


def librilight_16gpu() -> TrainConfig:
    """The paper's run: the 60,000 hours of LibriLight on 16 GPUs with 6,000 acoustic tokens each. Not run yet.

    A rank may take twice its share of 6,000 frames at once. With a limit of just the share, most steps would be two half-empty
    micro-batches, since the ranks' shares are never quite equal.
    """
    return TrainConfig(rank_frames=12_000, compile=True)


CONFIGS = {preset.__name__: preset for preset in (overfit_cpu, small_cpu, libritts_1gpu, librilight_16gpu)}


def load_config(name: str) -> TrainConfig:
    """A preset by name, or a YAML file: a preset's name as `preset`, and settings that differ from it, sizes included.

    Raises ConfigError, naming the file and the setting, for a file that cannot be used.
    """
    if name in CONFIGS:
        return CONFIGS[name]()
    from voxbeam.schemas.bounded_yaml import parse_yaml, read_yaml_file  # a machine that only measures may lack PyYAML

    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"there is no configuration {name!r}", remedy=f"give a YAML file, or one of {', '.join(CONFIGS)}")
    try:
        tree = parse_yaml(read_yaml_file(path))
        if not isinstance(tree, dict):
            raise ConfigError("it is not a mapping of settings")
        preset = tree.pop("preset", "overfit_cpu")
        if preset not in CONFIGS:
            raise ConfigError(f"there is no preset {preset!r}; the presets are {', '.join(CONFIGS)}")
        return _updated(CONFIGS[preset](), tree)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name}: {error}", remedy="correct the file") from error


def _updated(settings: Any, tree: dict[str, Any]) -> Any:
    """A dataclass of settings with some of them replaced. Raises ConfigError for an unknown one, or a value of another type."""
    known = {item.name: getattr(settings, item.name) for item in fields(settings)}
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in known:
            raise ConfigError(f"there is no setting {name!r}; the settings are {', '.join(known)}")
        old = known[name]
        if is_dataclass(old) and isinstance(value, dict):
            values[name] = _updated(old, value)
        elif isinstance(old, tuple) and isinstance(value, list):
            values[name] = tuple(value)
        elif isinstance(old, float) and type(value) in (int, float):
            values[name] = float(value)
        elif type(value) is type(old):
            values[name] = value
        else:
            raise ConfigError(f"{name} is {value!r}, and must be like {old!r}")
    return replace(settings, **values)


def apply_overrides(config: TrainConfig, overrides: list[str]) -> TrainConfig:
    """The configuration with settings such as `steps=500` or `train_models=ar` replaced.

    Raises ConfigError, naming the known settings, for an unknown one, and ValueError for a value of another type.
    """
    known = {item.name: getattr(config, item.name) for item in fields(config) if item.name not in ("transformer", "betas")}
    values: dict[str, object] = {}
    for override in overrides:
        name, _, text = override.partition("=")
        if name not in known:
            raise ConfigError(f"there is no setting {name!r}; the settings are {', '.join(known)}")
        values[name] = _parse(name, text, known[name])
    return replace(config, **values)  # type: ignore[arg-type]


def _parse(name: str, text: str, old: object) -> object:
    """A setting's value, of the type of the one before. Raises ConfigError."""
    if isinstance(old, bool):
        if text not in ("true", "false"):
            raise ConfigError(f"{name} is true or false, not {text!r}")
        return text == "true"
    if isinstance(old, tuple):
        return tuple(text.split(","))
    try:
        return type(old)(text)  # type: ignore[call-arg]
    except ValueError:
        raise ConfigError(f"{name} is a number such as {old}, not {text!r}") from None
