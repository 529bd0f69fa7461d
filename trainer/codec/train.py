"""Trains a codec (EnCodec, Défossez et al. 2022, arXiv 2210.13438) on speech, on one GPU or on one CPU core.

The course of a run: the encoder and decoder learn alone for `warm_steps`; the codebooks are then seeded by a few Lloyd
steps on what the encoder says (seeded before the encoder carries a signal, they collapse); from there all learn together.
From step `words_from` on, if that is set, a recognizer's encoder listens too; from `adversarial_from` on, a discriminator.

Shapes: B batch, S samples at 24 kHz, T frames, D latent dimension, K codebooks.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from voxbeam.models.codec import export_codec
from voxbeam.models.codec_model import CodecConfig, CodecModel, build_codec
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE
from voxbeam.trainer.codec.codebooks import Codebooks, frames, perplexity
from voxbeam.trainer.codec.data import AudioUtterance, draw_batch, find_utterances, read_at, split_speakers
from voxbeam.trainer.codec.discriminator import LEARNING_SHARE, Adversary
from voxbeam.trainer.codec.logger import Journal
from voxbeam.trainer.codec.losses import low_distance, mel_distance, time_distance

if TYPE_CHECKING:
    from voxbeam.trainer.codec.asr_loss import WordLoss


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on besides the audio itself. The defaults are the recipe of the embedded codec."""

    model: CodecConfig = field(default_factory=lambda: CodecConfig(layers="frame", dimension=64))
    steps: int = 20_000
    minutes: float | None = None  # when set, the learning rate follows the clock and the run ends with it
    warm_steps: int = 600
    seed_frames: int = 12_000  # heard before the codebooks are seeded
    batch: int = 8
    crop_seconds: float = 1.0
    bf16: bool = False  # layers multiply in bfloat16; losses and codebooks stay in float32
    lr: float = 2e-3
    lr_warmup: int = 200
    gain: float = 1.7  # on weight_g at the start: with weight norm the signal fades through SEANet otherwise
    time_weight: float = 0.0
    low_weight: float = 0.1
    words_from: int | None = None  # step from which a recognizer's encoder listens
    words_weight: float = 1.0
    commit_weight: float = 0.25
    partial_share: float = 0.2  # share of steps that use fewer codebooks, so that early ones carry the most
    ema: float = 0.999
    adversarial_from: int | None = None  # step; after warm_steps
    adversarial_weight: float = 3.0  # of this and the next, against 1 for mel: EnCodec, section 3.4
    features_weight: float = 3.0
    discriminator_filters: int = 32
    discriminator_lr: float = 3e-4
    held_out_speakers: int = 8
    seed: int = 0
    evaluate_every: int = 500
    save_every: int = 500

    def __post_init__(self) -> None:
        if self.adversarial_from is not None and self.adversarial_from < self.warm_steps:
            raise ValueError(f"the discriminator cannot listen before step {self.warm_steps}, when the codebooks are seeded")


class Run:
    """One training run and everything that a checkpoint must hold to continue it exactly."""

    def __init__(self, config: TrainConfig, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = device
        self.model = build_codec(config.model).to(device)
        for name, parameter in self.model.named_parameters():
            if name.endswith("weight_g"):
                parameter.data.mul_(config.gain)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config.lr, betas=(0.9, 0.99))
        self.codebooks = Codebooks(self.model.quantizer)
        self.word_loss: WordLoss | None = None
        if config.words_from is not None:
            from voxbeam.trainer.codec.asr_loss import WordLoss  # needs openai-whisper, which is an extra

            self.word_loss = WordLoss(device, torch.bfloat16 if config.bf16 else torch.float32)
        self.adversary: Adversary | None = None
        if config.adversarial_from is not None:
            self.adversary = Adversary(config.discriminator_filters, config.discriminator_lr, device)
        self.step = 0
        self.seconds = 0.0  # of training, over all the processes that took part

    @property
    def progress(self) -> float:
        """Share of the run that is done, by the clock when the run has a time budget."""
        by_steps = self.step / self.config.steps
        return by_steps if self.config.minutes is None else self.seconds / 60 / self.config.minutes

    @property
    def seeded(self) -> bool:
        return self.step > self.config.warm_steps

    def learning_rate(self) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.progress)))
        return self.config.lr * cosine * min(1.0, (self.step + 1) / self.config.lr_warmup)

    def train_step(self, utterances: Sequence[AudioUtterance]) -> dict[str, float]:
        """One update on one batch; gives back the losses."""
        rng = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        if self.step == self.config.warm_steps:
            self.seed_codebooks(utterances, rng)
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
        """What the decoder makes of a batch, [B, 1, S], and the commitment loss; the codebooks learn on the way."""
        with self.mixed_precision():
            z_BDT = self.model.encoder(x_B1S).float()
        commit = torch.zeros((), device=self.device)
        if self.step >= self.config.warm_steps:
            if self.step % 20 == 0 and self.progress < 0.9:
                self.codebooks.restart_dead(z_BDT.detach(), rng)
            z_BDT, commit = self.codebooks.quantize(z_BDT, self.books_in_use(rng))
        with self.mixed_precision():
            return self.model.decoder(z_BDT).float(), commit

    def books_in_use(self, rng: torch.Generator) -> int:
        """All codebooks, or in some steps only the first few."""
        n_codebooks = self.config.model.n_codebooks
        if float(torch.rand((), generator=rng)) < self.config.partial_share:
            return int(torch.randint(1, n_codebooks, (), generator=rng))
        return n_codebooks

    def backward(self, x_B1S: Tensor, y_B1S: Tensor, commit: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Gradients of one batch; gives back the losses. In phase two the discriminator learns from the batch first."""
        config = self.config
        losses = {"mel": mel_distance(x_B1S, y_B1S), "time": time_distance(x_B1S, y_B1S), "low": low_distance(x_B1S, y_B1S)}
        weights = {"mel": 1.0, "time": config.time_weight, "low": config.low_weight}
        if self.word_loss is not None and self.step >= (config.words_from or 0):
            losses["words"] = self.word_loss(x_B1S, y_B1S)
            weights["words"] = config.words_weight
        if self.adversary is None or self.step < (config.adversarial_from or 0):
            loss = sum((weights[name] * value for name, value in losses.items()), config.commit_weight * commit)
            loss.backward()
            return losses | {"loss": loss, "commit": commit}
        with self.mixed_precision():
            learning = {}
            if float(torch.rand((), generator=rng)) < LEARNING_SHARE:
                learning = {"discriminator": self.adversary.learn(x_B1S, y_B1S)}
            losses |= self.adversary.judge(x_B1S, y_B1S)
        weights |= {"adversarial": config.adversarial_weight, "features": config.features_weight}
        gradient_B1S = self.adversary.balancer.gradient(losses, weights, y_B1S)
        torch.autograd.backward([y_B1S, config.commit_weight * commit], [gradient_B1S, torch.ones_like(commit)])
        return losses | {"commit": commit} | learning

    @torch.no_grad()
    def seed_codebooks(self, utterances: Sequence[AudioUtterance], rng: torch.Generator) -> None:
        """Sets the codebooks from what the encoder says about batches that no step draws."""
        per_batch = self.config.batch * (round(self.config.crop_seconds * CODEC_RATE) // CODEC_HOP)
        batches = [
            self.model.encoder(self.draw(utterances, 2**31 + index))
            for index in range(math.ceil(self.config.seed_frames / per_batch))
        ]
        self.codebooks.seed(frames(torch.cat(batches)), rng)
        for name, value in self.model.state_dict().items():
            if "quantizer" in name:
                self.average[name].copy_(value)

    @torch.no_grad()
    def update_average(self) -> None:
        """Exponential moving average of weights and codebooks: what is evaluated and exported."""
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def averaged_model(self) -> CodecModel:
        model = build_codec(self.config.model).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    @torch.inference_mode()
    def evaluate(self, utterances: Sequence[AudioUtterance]) -> tuple[dict[str, Any], Tensor, Tensor]:
        """Held-out log-mel distance of the averaged model (each utterance counts alike) and perplexity of each book.

        Gives back these, and the last utterance as it was and as it comes out, [S] each.
        """
        model, distances, codes = self.averaged_model(), [], []
        x_11S = y_11S = torch.zeros(1, 1, 0)
        for utterance in utterances:
            wave_S = read_at(utterance, CODEC_RATE)
            x_11S = torch.from_numpy(wave_S[: len(wave_S) // CODEC_HOP * CODEC_HOP]).to(self.device)[None, None]
            z_1DT = model.encoder(x_11S)
            if self.seeded:
                codes_K1T = model.quantizer.encode(z_1DT)
                codes.append(codes_K1T[:, 0].cpu())
                z_1DT = model.quantizer.decode(codes_K1T)
            y_11S = model.decoder(z_1DT)
            distances.append(float(mel_distance(x_11S, y_11S)))
        result: dict[str, Any] = {"held_out_mel": round(float(np.mean(distances)), 4)}
        if codes:
            result["perplexity"] = [round(perplexity(book), 1) for book in torch.cat(codes, dim=1)]
        return result, x_11S[0, 0].cpu(), y_11S[0, 0].cpu()

    def save(self, path: Path) -> None:
        """Writes the checkpoint whole or not at all."""
        state = {
            "config": json.dumps(asdict(self.config)),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        if self.adversary is not None:
            state["adversary"] = self.adversary.state_dict()
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        Path.replace(partial, path)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Run:
        state = torch.load(path, map_location=device, weights_only=True)
        fields = json.loads(state["config"])
        fields["model"]["ratios"] = tuple(fields["model"]["ratios"])
        run = cls(TrainConfig(**fields | {"model": CodecConfig(**fields["model"])}), device)
        run.model.load_state_dict(state["model"])
        run.average = state["average"]
        run.optimizer.load_state_dict(state["optimizer"])
        if run.adversary is not None:
            run.adversary.load_state_dict(state["adversary"])
        run.step, run.seconds = state["step"], state["seconds"]
        return run


def train(config: TrainConfig, data: str, out: Path, device: str = "cpu") -> Run:
    """Trains, or continues the run that `out` holds, until its steps or its minutes are used up.

    Leaves in `out`: checkpoint.pt, log.jsonl (one line per evaluation), tensorboard/ and codec_24khz.safetensors.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    run = Run.load(checkpoint, device) if checkpoint.exists() else Run(config, device)
    config = run.config
    utterances, held_out = split_speakers(find_utterances(data), config.held_out_speakers)
    recent: list[dict[str, float]] = []
    with Journal(out, run.step) as journal:
        while run.progress < 1 and run.step < config.steps:
            began = time.monotonic()
            recent.append(run.train_step(utterances))
            run.seconds += time.monotonic() - began
            journal.tick(run.step, run.progress, recent[-1])
            last = run.progress >= 1 or run.step == config.steps
            if run.step % config.evaluate_every == 0 or last:
                result, recorded_S, decoded_S = run.evaluate(held_out)
                journal.write(run.step, run.seconds, means(recent) | result)
                journal.play(run.step, recorded_S, decoded_S)
                recent = []
            if run.step % config.save_every == 0 or last:
                run.save(checkpoint)
    if run.seeded:
        export(checkpoint, out / "codec_24khz.safetensors")
    return run


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each loss over the steps in which it was taken."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: round(float(np.mean([row[name] for row in rows if name in row])), 6) for name in names}


def export(checkpoint: Path, path: Path) -> str:
    """Writes a checkpoint's averaged weights as the safetensors that `load_codec` reads; gives back its sha256."""
    run = Run.load(checkpoint)
    if not run.seeded:
        raise ValueError(f"{checkpoint} is at step {run.step}, before its codebooks exist: train on, then export")
    return export_codec(run.averaged_model(), run.config.model, path, {"steps": str(run.step)})
