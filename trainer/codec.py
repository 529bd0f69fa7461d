"""Trains EnCodec (Défossez et al. 2022, arXiv 2210.13438) on a folder of speech, on one GPU or on one CPU core.

The course of a run: the encoder and decoder learn alone for `warm_steps`; the codebooks are then seeded by a few Lloyd
steps on what the encoder says; from there all learn together. (Codebooks seeded before the encoder carries a signal
collapse; the `encodec` package's own k-means takes minutes on a CPU, and its dead codes never restart, because the
moving average overwrites them in the same step: hence `Codebooks` below.)

Shapes: B batch, S samples at 24 kHz, T frames, D latent dimension, K codebooks, V codes per book, N vectors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
import torch
import torch.nn.functional as F
from encodec import EncodecModel
from torch import Tensor

from assets.encodec_model import HOP, SAMPLE_RATE, CodecConfig, build_codec, export_codec

MEL_SCALES = ((128, 20), (256, 40), (512, 64), (1024, 80), (2048, 128))  # (window in samples, mel bands)
MEL_FLOOR = 1e-4  # amplitude: -80 dBFS per bin, about the room noise of a read-speech recording


@dataclass(frozen=True)
class TrainConfig:
    """Everything a run depends on besides the audio itself."""

    model: CodecConfig = field(default_factory=lambda: CodecConfig(n_filters=8, lstm_layers=0))
    steps: int = 20_000
    minutes: float | None = None  # when set, the learning rate follows the clock and the run ends with it
    warm_steps: int = 1_500
    seed_frames: int = 12_000  # heard before the codebooks are seeded
    batch: int = 4
    crop_seconds: float = 1.0
    lr: float = 1e-3
    lr_warmup: int = 200
    gain: float = 1.7  # on weight_g at the start: with weight norm the signal fades through the network otherwise
    time_weight: float = 0.5
    commit_weight: float = 0.25
    partial_share: float = 0.2  # share of steps that use fewer codebooks, so that early ones carry the most
    ema: float = 0.999
    held_out_speakers: int = 8
    seed: int = 0
    evaluate_every: int = 500
    save_every: int = 500


def load_speakers(folder: Path) -> dict[str, list[np.ndarray]]:
    """Every flac and wav under a folder as float16 [S] at 24 kHz, by speaker (the file name up to its first dash)."""
    speakers: dict[str, list[np.ndarray]] = {}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".flac", ".wav"})
    for path in files:
        audio, rate = sf.read(path, dtype="float32", always_2d=True)
        wave_S = soxr.resample(audio.mean(axis=1), rate, SAMPLE_RATE)
        speakers.setdefault(path.stem.split("-")[0], []).append(wave_S.astype(np.float16))
    if not speakers:
        raise ValueError(f"no .flac or .wav file under {folder}: name a folder that holds speech")
    return speakers


def split_speakers(speakers: dict[str, list[np.ndarray]], held_out: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Training and held-out waveforms; the speakers held out are the first by hash, whatever else is in the folder."""
    order = sorted(speakers, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    if not 0 < held_out < len(order):
        raise ValueError(f"cannot hold out {held_out} of {len(order)} speakers: lower --held-out-speakers")
    kept, held = order[held_out:], order[:held_out]
    return [w for name in kept for w in speakers[name]], [w for name in held for w in speakers[name]]


def draw_batch(waves: list[np.ndarray], config: TrainConfig, step: int) -> Tensor:
    """The batch of one step, [B, 1, S]: a pure function of the seed and the step, so that a resumed run sees the same.

    Each crop varies in speed (±10 %, which moves pitch too), gain (±6 dB) and, half of the time, a little white noise.
    """
    rng = np.random.default_rng([config.seed, step])
    size = round(config.crop_seconds * SAMPLE_RATE) // HOP * HOP
    lengths = np.array([len(wave) for wave in waves], dtype=np.float64)
    crops = []
    for index in rng.choice(len(waves), size=config.batch, p=lengths / lengths.sum()):
        speed = rng.uniform(0.9, 1.1)
        span = math.ceil(size * speed) + 16
        start = rng.integers(max(1, len(waves[index]) - span))
        crop = waves[index][start : start + span].astype(np.float32)
        crop = soxr.resample(crop, speed, 1.0, quality="LQ")[:size]
        crop = np.pad(crop, (0, size - len(crop))) * 10 ** rng.uniform(-0.3, 0.3)
        if rng.random() < 0.5:
            crop = crop + rng.standard_normal(size) * 10 ** rng.uniform(-4.5, -3.3)
        crops.append(np.clip(crop, -1, 1).astype(np.float32))
    return torch.from_numpy(np.stack(crops))[:, None]


def mel_filters(window: int, bands: int) -> Tensor:
    """Triangular filters [window // 2 + 1, bands], each summing to one, spaced on the HTK mel scale up to 12 kHz."""
    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.linspace(0, SAMPLE_RATE / 2, window // 2 + 1)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rise, fall).clamp(min=0)
    # A band narrower than one bin would be empty: it takes the bin nearest to its centre.
    nearest = (bins[:, None] - edges[1:-1]).abs().argmin(dim=0)
    filters[nearest, torch.arange(bands)] += 1e-3
    return filters / filters.sum(dim=0)


@functools.cache
def mel_scale(window: int, bands: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The taper [window] and the filters [window // 2 + 1, bands] of one scale."""
    return torch.hann_window(window, device=device), mel_filters(window, bands).to(device)


def log_mel(wave_BS: Tensor, window: int, bands: int) -> Tensor:
    taper, filters = mel_scale(window, bands, wave_BS.device)
    spectrum = torch.stft(wave_BS, window, window // 4, window=taper, return_complex=True).abs()
    return torch.log(spectrum.transpose(1, 2) @ filters / (window / 4) + MEL_FLOOR)


def mel_distance(x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
    """Mean |ln mel(x) - ln mel(y)| over five scales (paper, section 3.4: the reconstruction loss over frequency)."""
    pairs = [(log_mel(x_B1S[:, 0], *scale), log_mel(y_B1S[:, 0], *scale)) for scale in MEL_SCALES]
    return torch.stack([(x - y).abs().mean() for x, y in pairs]).mean()


@dataclass
class Book:
    """One codebook: views of the quantizer's own buffers."""

    embed_VD: Tensor
    count_V: Tensor  # moving average of how often each code is chosen, in even shares: 1 when all are chosen alike
    sum_VD: Tensor  # moving average of the sum of what each code stands for, in the same unit

    def nearest(self, vectors_ND: Tensor) -> Tensor:
        """The code of each vector [N]; |v| is the same for all the codes, so it is left out of the distance."""
        return torch.addmm(self.embed_VD.square().sum(1), vectors_ND, self.embed_VD.T, alpha=-2).argmin(1)


class Codebooks:
    """Learns the residual codebooks by moving averages (paper, section 3.2)."""

    def __init__(self, model: EncodecModel, decay: float = 0.99, restart_below: float = 0.1) -> None:
        buffers = [dict(layer._codebook.named_buffers()) for layer in model.quantizer.vq.layers]
        self.books = [Book(each["embed"], each["cluster_size"], each["embed_avg"]) for each in buffers]
        self.decay = decay
        self.restart_below = restart_below  # in even shares

    @torch.no_grad()
    def seed(self, vectors_ND: Tensor, rng: torch.Generator, rounds: int = 10) -> None:
        """Lloyd's algorithm, book after book, on what the books before leave over."""
        residual_ND = vectors_ND
        for book in self.books:
            size = len(book.embed_VD)
            if len(residual_ND) < size:
                raise ValueError(f"{len(residual_ND)} frames cannot seed {size} codes: use a larger batch or longer crop")
            book.embed_VD.copy_(residual_ND[torch.randperm(len(residual_ND), generator=rng)[:size]])
            for _ in range(rounds):
                count_V, sum_VD = _assign(book.nearest(residual_ND), residual_ND, size)
                used = count_V > 0
                book.embed_VD[used] = sum_VD[used] / count_V[used, None]
            book.count_V.copy_(count_V.clamp(min=0.5) * size / len(residual_ND))
            book.sum_VD.copy_(book.embed_VD * book.count_V[:, None])
            residual_ND = residual_ND - book.embed_VD[book.nearest(residual_ND)]

    def quantize(self, z_BDT: Tensor, n_books: int) -> tuple[Tensor, Tensor]:
        """Quantizes and learns: latents with a straight-through gradient [B, D, T], and the commitment loss."""
        z_ND = _frames(z_BDT)
        residual_ND = z_ND.detach()
        for book in self.books[:n_books]:
            codes_N = book.nearest(residual_ND)
            chosen_ND = book.embed_VD[codes_N]
            self._update(book, codes_N, residual_ND)
            residual_ND = residual_ND - chosen_ND
        commit = F.mse_loss(z_ND, z_ND.detach() - residual_ND) / z_ND.detach().var()
        return z_BDT - residual_ND.view(len(z_BDT), -1, z_BDT.shape[1]).transpose(1, 2), commit

    @torch.no_grad()
    def _update(self, book: Book, codes_N: Tensor, vectors_ND: Tensor) -> None:
        count_V, sum_VD = _assign(codes_N, vectors_ND, len(book.embed_VD))
        even_share = len(vectors_ND) / len(book.embed_VD)
        book.count_V.lerp_(count_V / even_share, 1 - self.decay)
        book.sum_VD.lerp_(sum_VD / even_share, 1 - self.decay)
        alive = book.count_V > 1e-3
        book.embed_VD[alive] = book.sum_VD[alive] / book.count_V[alive, None]

    @torch.no_grad()
    def restart_dead(self, z_BDT: Tensor, rng: torch.Generator) -> None:
        """Moves codes that fell out of use onto vectors of this batch, as far as it has enough of them."""
        residual_ND = _frames(z_BDT)
        for book in self.books:
            dead = (book.count_V < self.restart_below).nonzero()[: len(residual_ND), 0]
            fresh = residual_ND[torch.randperm(len(residual_ND), generator=rng)[: len(dead)]]
            book.embed_VD[dead], book.sum_VD[dead], book.count_V[dead] = fresh, fresh, 1.0
            residual_ND = residual_ND - book.embed_VD[book.nearest(residual_ND)]


def _frames(z_BDT: Tensor) -> Tensor:
    return z_BDT.transpose(1, 2).reshape(-1, z_BDT.shape[1])


def _assign(codes_N: Tensor, vectors_ND: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many vectors each code was chosen for [V], and their sum [V, D]."""
    count_V = torch.bincount(codes_N, minlength=size).to(vectors_ND.dtype)
    sum_VD = torch.zeros(size, vectors_ND.shape[1], dtype=vectors_ND.dtype, device=vectors_ND.device)
    return count_V, sum_VD.index_add_(0, codes_N, vectors_ND)


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
        self.codebooks = Codebooks(self.model)
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

    def train_step(self, waves: list[np.ndarray]) -> dict[str, float]:
        """One update on one batch; gives back the losses."""
        config, rng = self.config, torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        x_B1S = draw_batch(waves, config, self.step).to(self.device)
        z_BDT = self.model.encoder(x_B1S)
        commit = torch.zeros((), device=self.device)
        if self.step == config.warm_steps:
            self.seed_codebooks(waves, rng)
        if self.step >= config.warm_steps:
            partial = float(torch.rand((), generator=rng)) < config.partial_share
            n_books = int(torch.randint(1, config.model.n_codebooks, (), generator=rng)) if partial else None
            if self.step % 20 == 0 and self.progress < 0.9:
                self.codebooks.restart_dead(z_BDT.detach(), rng)
            z_BDT, commit = self.codebooks.quantize(z_BDT, n_books or config.model.n_codebooks)
        y_B1S = self.model.decoder(z_BDT)
        mel = mel_distance(x_B1S, y_B1S)
        wave = (x_B1S - y_B1S).abs().mean() / x_B1S.abs().mean().clamp(min=1e-4)
        loss = mel + config.time_weight * wave + config.commit_weight * commit

        lr = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self.update_average()
        losses = {"loss": loss, "mel": mel, "wave": wave, "commit": commit, "norm": norm}
        return {name: round(value.item(), 5) for name, value in losses.items()} | {"lr": lr}

    @torch.no_grad()
    def seed_codebooks(self, waves: list[np.ndarray], rng: torch.Generator) -> None:
        """Sets the codebooks from what the encoder says about batches that no step draws."""
        per_batch = self.config.batch * (round(self.config.crop_seconds * SAMPLE_RATE) // HOP)
        batches = [
            self.model.encoder(draw_batch(waves, self.config, 2**31 + index).to(self.device))
            for index in range(math.ceil(self.config.seed_frames / per_batch))
        ]
        self.codebooks.seed(_frames(torch.cat(batches)), rng)
        for name, value in self.model.state_dict().items():
            if "quantizer" in name:
                self.average[name].copy_(value)

    @torch.no_grad()
    def update_average(self) -> None:
        """Exponential moving average of weights and codebooks: what is evaluated and exported."""
        keep = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def averaged_model(self) -> EncodecModel:
        model = build_codec(self.config.model).to(self.device)
        model.load_state_dict(self.average)
        return model.eval()

    @torch.inference_mode()
    def evaluate(self, waves: list[np.ndarray]) -> dict[str, Any]:
        """Held-out log-mel distance of the averaged model (each utterance counts alike) and perplexity of each book."""
        model, distances, codes = self.averaged_model(), [], []
        for wave in waves:
            whole = len(wave) // HOP * HOP
            x_11S = torch.from_numpy(wave[:whole].astype(np.float32)).to(self.device)[None, None]
            z_1DT = model.encoder(x_11S)
            if self.seeded:
                codes_K1T = model.quantizer.vq.encode(z_1DT)
                codes.append(codes_K1T[:, 0].cpu())
                z_1DT = model.quantizer.vq.decode(codes_K1T)
            distances.append(float(mel_distance(x_11S, model.decoder(z_1DT))))
        result: dict[str, Any] = {"held_out_mel": round(float(np.mean(distances)), 4)}
        if codes:
            result["perplexity"] = [round(perplexity(book), 1) for book in torch.cat(codes, dim=1)]
        return result

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
        run.step, run.seconds = state["step"], state["seconds"]
        return run


def perplexity(codes_N: Tensor) -> float:
    """exp(entropy) of the codes used: V when all are used alike, 1 when one code says everything."""
    share = torch.bincount(codes_N) / len(codes_N)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def train(config: TrainConfig, data: Path, out: Path, device: str = "cpu") -> Run:
    """Trains, or continues the run that `out` holds, until its steps or its minutes are used up.

    Leaves in `out`: checkpoint.pt, log.jsonl (one line per evaluation) and codec_24khz.safetensors.
    """
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    run = Run.load(checkpoint, device) if checkpoint.exists() else Run(config, device)
    config = run.config
    waves, held_out = split_speakers(load_speakers(data), config.held_out_speakers)
    recent: list[dict[str, float]] = []
    while run.progress < 1 and run.step < config.steps:
        began = time.monotonic()
        recent.append(run.train_step(waves))
        run.seconds += time.monotonic() - began
        last = run.progress >= 1 or run.step == config.steps
        if run.step % config.evaluate_every == 0 or last:
            means = {name: round(float(np.mean([row[name] for row in recent])), 6) for name in recent[0]}
            line = {"step": run.step, "seconds": round(run.seconds, 1)} | means | run.evaluate(held_out)
            with (out / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            recent = []
        if run.step % config.save_every == 0 or last:
            run.save(checkpoint)
    if run.seeded:
        export(checkpoint, out / "codec_24khz.safetensors")
    return run


def export(checkpoint: Path, path: Path) -> str:
    """Writes a checkpoint's averaged weights as the safetensors that `load_codec` reads; gives back its sha256."""
    run = Run.load(checkpoint)
    if not run.seeded:
        raise ValueError(f"{checkpoint} is at step {run.step}, before its codebooks exist: train on, then export")
    return export_codec(run.averaged_model(), run.config.model, path, {"steps": str(run.step)})
