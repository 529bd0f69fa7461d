"""Trains a codec (EnCodec, Défossez et al. 2022, arXiv 2210.13438) on speech, on one GPU or one CPU core.

For `codebook_warmup_steps` the encoder and the decoder train alone; initialized earlier, the codebooks would collapse. The
codebooks are then initialized by k-means on the encoder's output, and everything trains together. From `asr_loss_start` on a
distance inside Whisper's encoder is added, from `gan_start` on a discriminator; both are off by default.

Shapes: B batch, S samples at 24 kHz, T frames, D latent dimension, K codebooks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from voxbeam.models.codec import export_codec
from voxbeam.models.codec_model import CodecConfig, CodecModel, build_codec
from voxbeam.schemas.errors import CheckpointError
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.trainer.codec.codebooks import CodebookLearner, flatten_frames, perplexity
from voxbeam.trainer.codec.config import CodecTrainConfig
from voxbeam.trainer.codec.data import AudioUtterance, draw_batch, find_utterances, read_at, split_speakers
from voxbeam.trainer.codec.discriminator import DISCRIMINATOR_STEP_FRACTION, AdversarialLoss
from voxbeam.trainer.codec.logger import CodecTrainLog, RunLogger
from voxbeam.trainer.codec.losses import low_distance, mel_distance, time_distance

if TYPE_CHECKING:
    from voxbeam.trainer.codec.asr_loss import AsrLoss


class CodecTrainer:
    """The state of one training run: all that a checkpoint needs to resume it exactly."""

    def __init__(self, config: CodecTrainConfig, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.model = build_codec(config.model).to(device)
        for name, parameter in self.model.named_parameters():
            if name.endswith("weight_g"):
                parameter.data.mul_(config.gain)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, betas=(0.9, 0.99))
        self.codebooks = CodebookLearner(self.model.quantizer)
        self.asr_loss: AsrLoss | None = None
        if config.asr_loss_start is not None:
            from voxbeam.trainer.codec.asr_loss import AsrLoss  # needs openai-whisper, which is an extra

            self.asr_loss = AsrLoss(device, torch.bfloat16 if config.bf16 else torch.float32)
        self.adversarial_loss: AdversarialLoss | None = None
        if config.gan_start is not None:
            self.adversarial_loss = AdversarialLoss(config.discriminator_filters, config.discriminator_lr, device)
        self.step = 0
        self.seconds = 0.0  # of training, over all processes of the run

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, by the clock if it has a time budget."""
        by_steps = self.step / self.config.steps
        return by_steps if self.config.minutes is None else self.seconds / 60 / self.config.minutes

    @property
    def initialized(self) -> bool:
        """Whether the codebooks exist."""
        return self.step > self.config.codebook_warmup_steps

    def learning_rate(self) -> float:
        """Linear warm-up times cosine decay."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        return self.config.lr * cosine * min(1.0, (self.step + 1) / self.config.lr_warmup_steps)

    def train_step(self, utterances: Sequence[AudioUtterance]) -> dict[str, float]:
        """One update on one batch. Returns the losses, the gradient norm and the learning rate."""
        rng = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        if self.step == self.config.codebook_warmup_steps:
            self.init_codebooks(utterances, rng)
        x_B1S = self.draw(utterances, self.step)
        y_B1S, commit = self.reconstruct(x_B1S, rng)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.backward(x_B1S, y_B1S, commit, rng)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        rates = {"norm": norm.item(), "lr": self.learning_rate()}
        self.step += 1
        self.update_average()
        return {name: round(value.item(), 5) for name, value in losses.items()} | rates

    def draw(self, utterances: Sequence[AudioUtterance], step: int) -> Tensor:
        config = self.config
        return draw_batch(utterances, config.batch, config.crop_seconds, config.seed, step).to(self.device)

    def mixed_precision(self) -> torch.autocast:
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.config.bf16)

    def reconstruct(self, x_B1S: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The decoded batch [B, 1, S], and the commitment loss. Updates the codebooks."""
        with self.mixed_precision():
            z_BDT = self.model.encoder(x_B1S).float()
        commit = torch.zeros((), device=self.device)
        if self.step >= self.config.codebook_warmup_steps:
            if self.step % 20 == 0 and self.progress < 0.9:
                self.codebooks.restart_dead(z_BDT.detach(), rng)
            z_BDT, commit = self.codebooks.quantize(z_BDT, self.active_codebooks(rng))
        with self.mixed_precision():
            return self.model.decoder(z_BDT).float(), commit

    def active_codebooks(self, rng: torch.Generator) -> int:
        """Number of codebooks to use: all, or in some steps a random smaller number."""
        n_codebooks = self.config.model.n_codebooks
        if float(torch.rand((), generator=rng)) < self.config.partial_fraction:
            return int(torch.randint(1, n_codebooks, (), generator=rng))
        return n_codebooks

    def backward(self, x_B1S: Tensor, y_B1S: Tensor, commit: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Computes the gradients of one batch and returns the losses. From `gan_start` on, the discriminator trains first."""
        config = self.config
        losses = {"mel": mel_distance(x_B1S, y_B1S), "time": time_distance(x_B1S, y_B1S), "low": low_distance(x_B1S, y_B1S)}
        weights = {"mel": 1.0, "time": config.time_weight, "low": config.low_weight}
        if self.asr_loss is not None and self.step >= (config.asr_loss_start or 0):
            losses["asr"] = self.asr_loss(x_B1S, y_B1S)
            weights["asr"] = config.asr_loss_weight
        if self.adversarial_loss is None or self.step < (config.gan_start or 0):
            loss = sum((weights[name] * value for name, value in losses.items()), config.commit_weight * commit)
            loss.backward()
            return losses | {"loss": loss, "commit": commit}
        with self.mixed_precision():
            discriminator = {}
            if float(torch.rand((), generator=rng)) < DISCRIMINATOR_STEP_FRACTION:
                discriminator = {"discriminator": self.adversarial_loss.discriminator_step(x_B1S, y_B1S)}
            losses |= self.adversarial_loss.generator_losses(x_B1S, y_B1S)
        weights |= {"adversarial": config.adversarial_weight, "features": config.features_weight}
        gradient_B1S = self.adversarial_loss.balancer.gradient(losses, weights, y_B1S)
        torch.autograd.backward([y_B1S, config.commit_weight * commit], [gradient_B1S, torch.ones_like(commit)])
        return losses | {"commit": commit} | discriminator

    @torch.no_grad()
    def init_codebooks(self, utterances: Sequence[AudioUtterance], rng: torch.Generator) -> None:
        """Initializes the codebooks on the encoder's output for batches that no training step uses."""
        per_batch = self.config.batch * (round(self.config.crop_seconds * CODEC_RATE) // CODEC_HOP)
        batches = [
            self.model.encoder(self.draw(utterances, 2**31 + index))
            for index in range(math.ceil(self.config.init_frames / per_batch))
        ]
        self.codebooks.initialize(flatten_frames(torch.cat(batches)), rng)
        for name, value in self.model.state_dict().items():
            if "quantizer" in name:
                self.average[name].copy_(value)

    @torch.no_grad()
    def update_average(self) -> None:
        """Updates the exponential moving average of weights and codebooks, which is evaluated and exported."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def averaged_model(self) -> CodecModel:
        model = build_codec(self.config.model).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    @torch.inference_mode()
    def evaluate(self, utterances: Sequence[AudioUtterance]) -> tuple[dict[str, Any], Tensor, Tensor]:
        """Evaluates the averaged model: `held_out_mel`, the mean mel distance over utterances, and `perplexity` of each codebook.

        Returns these, and the last utterance before and after the codec, [S] each.
        """
        model, distances, codes = self.averaged_model(), [], []
        x_11S = y_11S = torch.zeros(1, 1, 0)
        for utterance in utterances:
            wave_S = read_at(utterance, CODEC_RATE)
            x_11S = torch.from_numpy(wave_S[: len(wave_S) // CODEC_HOP * CODEC_HOP]).to(self.device)[None, None]
            z_1DT = model.encoder(x_11S)
            if self.initialized:
                codes_K1T = model.quantizer.encode(z_1DT)
                codes.append(codes_K1T[:, 0].cpu())
                z_1DT = model.quantizer.decode(codes_K1T)
            y_11S = model.decoder(z_1DT)
            distances.append(float(mel_distance(x_11S, y_11S)))
        result: dict[str, Any] = {"held_out_mel": round(float(np.mean(distances)), 4)}
        if codes:
            result["perplexity"] = [round(perplexity(codes_N), 1) for codes_N in torch.cat(codes, dim=1)]
        return result, x_11S[0, 0].cpu(), y_11S[0, 0].cpu()

    def save(self, path: Path) -> None:
        """Writes a checkpoint, atomically."""
        state = {
            "config": json.dumps(asdict(self.config)),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        if self.adversarial_loss is not None:
            state["adversarial_loss"] = self.adversarial_loss.state_dict()
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        Path.replace(partial, path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> CodecTrainer:
        """Resumes from a checkpoint."""
        state = torch.load(path, map_location=device, weights_only=True)
        fields = json.loads(state["config"])
        fields["model"]["ratios"] = tuple(fields["model"]["ratios"])
        run = cls(CodecTrainConfig(**fields | {"model": CodecConfig(**fields["model"])}), device)
        run.model.load_state_dict(state["model"])
        run.average = state["average"]
        run.optimizer.load_state_dict(state["optimizer"])
        if run.adversarial_loss is not None:
            run.adversarial_loss.load_state_dict(state["adversarial_loss"])
        run.step, run.seconds = state["step"], state["seconds"]
        return run


def train(
    config: CodecTrainConfig,
    data: str,
    out: Path,
    device: str = "cpu",
    on_log: Callable[[CodecTrainLog], None] | None = None,
) -> CodecTrainer:
    """Trains a codec on the speech in `data`, or resumes the run in the folder `out`, with the configuration of that run.

    Leaves in `out`: checkpoint.pt, log.jsonl (one line per evaluation), tensorboard/ and, once the codebooks are initialized,
    codec_24khz.safetensors.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    run = CodecTrainer.load(checkpoint, device) if checkpoint.exists() else CodecTrainer(config, device)
    config = run.config
    utterances, held_out = split_speakers(find_utterances(data), config.held_out_speakers)
    recent: list[dict[str, float]] = []
    with RunLogger(out, run.step, on_log) as logger:
        while run.progress < 1 and run.step < config.steps:
            began = time.monotonic()
            recent.append(run.train_step(utterances))
            run.seconds += time.monotonic() - began
            logger.log_step(run.step, run.progress, recent[-1])
            last = run.progress >= 1 or run.step == config.steps
            if run.step % config.evaluate_every == 0 or last:
                result, recorded_S, decoded_S = run.evaluate(held_out)
                logger.log_evaluation(run.step, run.seconds, run.progress, means(recent), result)
                logger.log_audio(run.step, recorded_S, decoded_S)
                recent = []
            if run.step % config.save_every == 0 or last:
                run.save(checkpoint)
    if run.initialized:
        export(checkpoint, out / "codec_24khz.safetensors")
    return run


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each loss over the steps that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: round(float(np.mean([row[name] for row in rows if name in row])), 6) for name in names}


def export(checkpoint: Path, path: Path) -> str:
    """Writes the averaged weights of a checkpoint in the format of `load_codec`. Returns the file's sha256.

    Raises CheckpointError if the codebooks are not initialized yet.
    """
    run = CodecTrainer.load(checkpoint)
    if not run.initialized:
        raise CheckpointError(
            f"{checkpoint} is at step {run.step}, before the codebooks are initialized", remedy="continue training, then export"
        )
    return export_codec(run.averaged_model(), run.config.model, path, {"steps": str(run.step)})
