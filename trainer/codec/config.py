"""Settings of a codec training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from voxbeam.models.codec_model import CodecConfig
from voxbeam.schemas.errors import ConfigError


@dataclass(frozen=True)
class CodecTrainConfig:
    """Everything that a run depends on besides the audio. The defaults are the recipe of the embedded codec.

    Raises ConfigError if the discriminator would start before the codebooks.
    """

    model: CodecConfig = field(default_factory=lambda: CodecConfig(layers="frame", dimension=64))
    steps: int = 20_000
    minutes: float | None = None
    """time budget: the learning rate follows the clock, and the run ends with it"""
    codebook_warmup_steps: int = 600
    """steps before the codebooks are initialized"""
    init_frames: int = 12_000
    """frames on which the codebooks are initialized"""
    batch: int = 8
    crop_seconds: float = 1.0
    bf16: bool = False
    """autocast to bfloat16; losses and codebooks stay float32"""
    lr: float = 2e-3
    lr_warmup_steps: int = 200
    gain: float = 1.7
    """factor on the initial weight_g: with weight normalization the signal would otherwise fade through SEANet"""
    time_weight: float = 0.0
    low_weight: float = 0.1
    asr_loss_start: int | None = None
    """step from which the distance inside Whisper's encoder is added; None: never"""
    asr_loss_weight: float = 1.0
    commit_weight: float = 0.25
    partial_fraction: float = 0.2
    """fraction of steps with a random number of codebooks, so that the first ones carry most information"""
    ema_decay: float = 0.999
    gan_start: int | None = None
    """step from which a discriminator is trained, not before the codebooks; None: never"""
    adversarial_weight: float = 3.0
    """as `features_weight`, relative to 1 for the mel loss (EnCodec, section 3.4)"""
    features_weight: float = 3.0
    discriminator_filters: int = 32
    discriminator_lr: float = 3e-4
    held_out_speakers: int = 8
    seed: int = 0
    evaluate_every: int = 500
    save_every: int = 500

    def __post_init__(self) -> None:
        if self.gan_start is not None and self.gan_start < self.codebook_warmup_steps:
            raise ConfigError(
                f"gan_start {self.gan_start} is before step {self.codebook_warmup_steps}, when the codebooks are initialized"
            )
