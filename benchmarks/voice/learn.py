"""Trains the AR and the NAR model of the voice in the box on one GPU, in a given time, while `speak.py` makes the speech.

    python -m benchmarks.voice.learn PACK ROUNDS OUT --seconds 400 [--tiny]

It compiles first, begins with the first file in ROUNDS, and takes up the others as they come. The learning rate falls linearly
to zero at the end of the time. OUT gets the averaged weights in bfloat16 (ar-0.safetensors, ar-1, nar-0, nar-1), log.txt, and
samples of sentences that were held out.

Shapes: as in `packed.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import tarfile
import threading
import time
import traceback
import wave
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig

from benchmarks.voice.data import MAX_DOCUMENT, Utterances, document_lengths, draw_documents, pack_documents, read_rounds
from benchmarks.voice.packed import Corpus, Packed, after, before
from benchmarks.voice.speak import load_embedded_codec

N_PHONES = 65
VALID_EVERY, VALID_WITHIN = 97, 6_000
"""of the first utterances, one in so many is for validation"""
LONGEST = 2048


class Log:
    def __init__(self, path: Path) -> None:
        self.began, self.path = time.monotonic(), path

    def __call__(self, text: str) -> None:
        line = f"learn {self.elapsed:6.1f} s  {text}"
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began


def newton_schulz(g_BXY: Tensor) -> Tensor:
    """About orthogonal matrices in the direction of G (Jordan et al. 2024, Muon), rows ≤ columns."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g_BXY.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return x


class Muon:
    """Momentum orthogonalized (Liu et al. 2025, arXiv 2502.16982): the matrices of the blocks; AdamW takes all other weights."""

    def __init__(self, model: nn.Module, rate: float, decay: float) -> None:
        d_model = model.transformer.config.d_model  # type: ignore[union-attr]
        named = dict(model.named_parameters())
        hidden = {name: p for name, p in named.items() if p.ndim == 2 and ".layers." in name and "modulation" not in name}
        others = {name: p for name, p in named.items() if name not in hidden}
        self.square, self.wide = [], []
        for p in hidden.values():
            (
                self.square if p.shape[0] % d_model == 0 and p.shape[1] == d_model and p.shape[0] <= 3 * d_model else self.wide
            ).append(p)
        self.d_model, self.rate, self.decay = d_model, rate, decay
        self.momentum = {id(p): torch.zeros_like(p) for p in hidden.values()}
        self.hidden, self.others = list(hidden.values()), list(others.values())
        matrices = [p for p in self.others if p.ndim >= 2]
        rest = [p for p in self.others if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=rate / 2, betas=(0.9, 0.98), fused=self.others[0].is_cuda)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """One update at `scale` times the peak rate."""
        nn.utils.clip_grad_norm_(self.others, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = self.rate / 2 * scale  # tied embeddings take less
        self.adam.step()
        gradients = [p.grad for p in self.hidden]
        moments = [self.momentum[id(p)] for p in self.hidden]
        torch._foreach_lerp_(moments, gradients, 0.05)  # type: ignore[arg-type]
        nesterov = dict(zip(map(id, self.hidden), torch._foreach_lerp(gradients, moments, 0.95), strict=True))  # type: ignore[arg-type]
        D = self.d_model
        torch._foreach_mul_(self.hidden, 1 - self.rate * scale * self.decay)
        parts = [part for p in self.square for part in nesterov[id(p)].split(D)]
        if parts:
            update = newton_schulz(torch.stack(parts)).float() * (0.2 * D**0.5)
            pieces = [part for p in self.square for part in p.split(D)]
            torch._foreach_add_(pieces, list(update.unbind(0)), alpha=-self.rate * scale)
        if self.wide:
            turned = [p.shape[0] > p.shape[1] for p in self.wide]
            update = newton_schulz(
                torch.stack([nesterov[id(p)].T if t else nesterov[id(p)] for p, t in zip(self.wide, turned, strict=True)])
            ).float() * (0.2 * max(self.wide[0].shape) ** 0.5)
            torch._foreach_add_(
                self.wide, [u.T if t else u for u, t in zip(update.unbind(0), turned, strict=True)], alpha=-self.rate * scale
            )

    def zero_grad(self) -> None:
        for p in (*self.hidden, *self.others):
            p.grad = None

    def forget(self) -> None:
        for moment in self.momentum.values():
            moment.zero_()
        self.adam.state.clear()


class State:
    """A model with its optimizer, its average and the last average that was finite."""

    def __init__(self, name: str, model: ARModel | NARModel, packed: Packed, rate: float, decay: float) -> None:
        self.name, self.model, self.packed = name, model, packed
        self.optimizer = Muon(model, rate, decay)
        self.parameters = list(model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.kept = [p.clone() for p in self.average]
        self.steps, self.brake = 0, 1.0

    @torch.no_grad()
    def update(self, scale: float) -> None:
        self.optimizer.step(min(1.0, (self.steps + 1) / 200) * scale * self.brake)
        self.optimizer.zero_grad()
        self.steps += 1
        decay = min(0.999, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    @torch.no_grad()
    def check(self, loss: float) -> bool:
        """Keeps the average if the loss is finite, else goes back to the kept one at half the rate."""
        if math.isfinite(loss):
            torch._foreach_copy_(self.kept, self.average)
            return True
        for target in (self.parameters, self.average):
            torch._foreach_copy_(target, self.kept)
        self.optimizer.forget()
        self.brake *= 0.5
        return False

    @torch.no_grad()
    def swap(self) -> None:
        now = [p.clone() for p in self.parameters]
        torch._foreach_copy_(self.parameters, self.average)
        torch._foreach_copy_(self.average, now)


class Feed:
    """Batches of documents from a thread; `data` may be replaced at any time."""

    def __init__(self, data: Utterances, corpus: Corpus, sizes: dict[str, int], most: int) -> None:
        self.sizes, self.most = sizes, most
        self.current = (data, corpus)
        self.queues: dict[str, Queue[tuple[Tensor, Corpus]]] = {name: Queue(64) for name in sizes}
        for number, name in enumerate(sizes):
            threading.Thread(target=self._fill, args=(name, number), daemon=True).start()

    def _fill(self, name: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while True:
            data, corpus = self.current
            for batch in batches_of(data, rng, self.sizes[name], self.most, 0.9 if name == "ar" else 1.0):
                tensor = torch.from_numpy(batch)
                self.queues[name].put((tensor.pin_memory() if torch.cuda.is_available() else tensor, corpus))
                if self.current[0] is not data:
                    break

    def next(self, name: str, device: str) -> tuple[Tensor, Corpus]:
        batch, corpus = self.queues[name].get()
        return batch.to(device, non_blocking=True), corpus


def batches_of(data: Utterances, rng: np.random.Generator, size: int, most: int, prompted: float) -> Iterator[np.ndarray]:
    """An epoch of batches: every utterance as the target once, real ones four times."""
    chosen = np.setdiff1d(np.arange(len(data.frames_U)), held_out(data))
    chosen = np.concatenate([chosen, *[chosen[~data.exact_U[chosen]]] * 3])
    rng.shuffle(chosen)
    documents = draw_documents(data, chosen, rng, prompted)
    lengths = document_lengths(documents)
    documents = documents[(lengths <= min(size, MAX_DOCUMENT)) & (documents[:, 7] >= 15) & (documents[:, 3] >= 1)]
    yield from pack_documents(documents, size, most)


def held_out(data: Utterances) -> np.ndarray:
    """Utterances for validation: the same ones as long as rounds are only added."""
    return np.arange(5, min(len(data.frames_U), VALID_WITHIN), VALID_EVERY)


def to_corpus(data: Utterances, device: str) -> Corpus:
    return Corpus(
        torch.from_numpy(data.phones_P.astype(np.int16)).to(device),
        torch.from_numpy(data.owner_F.astype(np.int16)).to(device),
        torch.from_numpy(data.codes_KF.astype(np.int16)).to(device),
    )


class Learner:
    def __init__(self, arguments: argparse.Namespace, log: Log) -> None:
        self.a, self.log = arguments, log
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        tiny = arguments.tiny
        self.sizes = {"ar": 2560, "nar": 2048} if tiny else {"ar": arguments.ar_size, "nar": arguments.nar_size}
        self.most = 16 if tiny else 96
        ar = TransformerConfig(n_layers=4, n_heads=2, d_model=64, d_ff=128, dropout=0.05)
        nar = TransformerConfig(n_layers=2, n_heads=2, d_model=64, d_ff=128, dropout=0.03)
        if not tiny:
            ar = TransformerConfig(n_layers=7, n_heads=6, d_model=384, d_ff=1536, dropout=0.05)
            nar = TransformerConfig(n_layers=6, n_heads=9, d_model=288, d_ff=1152, dropout=0.03)
        self.configs = {
            "ar": ModelConfig(n_phones=N_PHONES, transformer=ar),
            "nar": ModelConfig(n_phones=N_PHONES, transformer=nar),
        }
        self.codec = load_embedded_codec(self.device)
        codebooks = torch.stack([book.embed for book in self.codec.quantizer.codebooks])
        torch.manual_seed(0)
        self.states = {}
        for name, cls in (("ar", ARModel), ("nar", NARModel)):
            model = cls(self.configs[name])
            model.init_from_codec(codebooks)
            model = model.to(self.device).train()
            compiled = self.device == "cuda" and not arguments.eager
            packed = Packed(model, self.sizes[name], LONGEST, compiled=compiled, dropout=self.configs[name].transformer.dropout)
            self.states[name] = State(name, model, packed, arguments.rate, 0.05)
        self.levels = np.random.default_rng(3)
        self.queue_levels: list[int] = []

    def loss(self, name: str, batch: Tensor, corpus: Corpus, train: bool, level: int = 1) -> tuple[Tensor, ...]:
        state = self.states[name]
        state.model.train(train)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            taught = 256 if self.a.tiny else 2048
            if name == "ar":
                layers = (1, 2) if self.a.tiny else (2, 3, 4)
                return state.packed.ar(batch, corpus, corrupt=0.04 if train else 0.0, taught=taught, layers=layers)
            tensor = torch.full((), level, dtype=torch.int64, device=self.device)
            layers = (0, 1) if self.a.tiny else (1, 2)
            return state.packed.nar(batch, corpus, tensor, corrupt=0.02 if train else 0.0, taught=taught, layers=layers)

    def train_ar(self, batch: Tensor, corpus: Corpus, progress: float) -> Tensor:
        loss, right, count, guide = self.loss("ar", batch, corpus, True)
        weight = 0.3 if progress < 0.6 else 0.06
        (loss / count.clamp(min=1) + weight * guide).backward()
        self.states["ar"].update(1 - progress)
        return torch.stack([loss.detach(), right.float(), count, guide.detach()])

    def train_nar(self, batches: list[tuple[Tensor, Corpus]], progress: float) -> Tensor:
        sums = 0.0
        for batch, corpus in batches:
            if not self.queue_levels:
                self.queue_levels = self.levels.permutation([1, 1, 2, 2, 3, 4, 5, 6, 7]).tolist()
            loss, right, count, guide = self.loss("nar", batch, corpus, True, self.queue_levels.pop())
            ((loss / count.clamp(min=1) + (0.2 if progress < 0.6 else 0.04) * guide) / len(batches)).backward()
            sums = sums + torch.stack([loss.detach(), right.float(), count, guide.detach()])
        self.states["nar"].update(1 - progress)
        return sums  # type: ignore[return-value]

    def validate(self, batches: dict[str, list[np.ndarray]], corpus: Corpus) -> str:
        found = []
        with torch.no_grad():
            for name, state in self.states.items():
                state.swap()
                for level in (1,) if name == "ar" else (1, 4, 7):
                    sums = sum(
                        torch.stack(self.loss(name, torch.from_numpy(b).to(self.device), corpus, False, level)[:3]).double().cpu()
                        for b in batches[name]
                    )
                    found.append(
                        f"{name}{level if name == 'nar' else ''} {sums[0] / sums[2]:.3f} nats {100 * sums[1] / sums[2]:.1f} %"
                    )
                state.swap()
        return "valid: " + ", ".join(found)

    def save(self, elapsed: float) -> None:
        for name, state in self.states.items():
            names = [key for key, _ in state.model.named_parameters()]
            tensors = {k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in zip(names, state.average, strict=True)}
            parts: list[dict[str, Tensor]] = [{}, {}]
            sizes = [0, 0]
            for key, tensor in sorted(tensors.items(), key=lambda item: -item[1].numel()):
                part = sizes.index(min(sizes))
                parts[part][key], sizes[part] = tensor, sizes[part] + tensor.numel()
            facts = {"model": json.dumps(asdict(self.configs[name])), "steps": str(state.steps), "seconds": f"{elapsed:.0f}"}
            for part, content in enumerate(parts):
                save_file(content, self.a.out / f"{name}-{part}.safetensors", metadata=facts)

    def samples(self, data: Utterances, number: int) -> None:
        """Sentences that were held out, in the voice of another utterance, as the product speaks."""
        for state in self.states.values():
            state.swap()
            state.model.eval()
        ar, nar = self.states["ar"].model, self.states["nar"].model
        rng, held = np.random.default_rng(5), held_out(data)
        documents = draw_documents(data, held[data.frames_U[held] > 150][:number], rng, 1.0)
        requests = []
        for d in documents:
            phones = [data.phones_P[d[0] : d[0] + d[1]], [1], data.phones_P[d[2] : d[2] + d[3]]]
            prompt = data.codes_KF[:, d[4] : d[4] + d[5]].astype(np.int16)
            most = 90 if self.a.tiny else 75 + int(d[3] * 15)
            requests.append(Request(phones_L=np.concatenate(phones).astype(np.int64), prompt_KP=prompt, max_frames=most))
        results = generate(ar, nar, requests, SamplingConfig())  # type: ignore[arg-type]
        self.log("samples: ended " + str([r.finished for r in results]) + " frames " + str([r.codes_KT.shape[1] for r in results])
                 + " true " + str(documents[:, 7].tolist()))  # fmt: skip
        with tarfile.open(self.a.out / "samples.tar", "w") as tar, torch.inference_mode():
            for i, (request, result) in enumerate(zip(requests, results, strict=True)):
                codes = np.concatenate([request.prompt_KP, result.codes_KT], 1).astype(np.int64)
                latent = self.codec.quantizer.decode(torch.from_numpy(codes).to(self.device)[:, None])
                sound = self.codec.decoder(latent)[0, 0].float().cpu().numpy()
                path = self.a.out / f"sample-{i}.wav"
                with wave.open(str(path), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(24_000)
                    file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
                tar.add(path, path.name)
                path.unlink()
        for state in self.states.values():
            state.swap()

    def warm_up(self) -> None:
        """Compiles with made-up documents."""
        rng = np.random.default_rng(0)
        frames = 40_000
        corpus = Corpus(
            *(torch.from_numpy(x.astype(np.int16)).to(self.device) for x in (
                rng.integers(4, 64, 10_000), np.zeros(frames), rng.integers(0, 1024, (8, frames))))
        )  # fmt: skip
        for name in self.states:
            batch = np.zeros((self.most, 11), np.int64)
            for row in range(max(1, self.sizes[name] // 900)):
                batch[row] = (0, 40, 50, 80, 0, 225, 300, 400, 0, 0, 1)
            tensor = torch.from_numpy(batch).to(self.device)
            for train in (True, True, False):
                with torch.set_grad_enabled(train):
                    values = self.loss(name, tensor, corpus, train)
                if train:
                    values[0].backward()
            if self.device == "cuda":
                torch.cuda.synchronize()
            self.states[name].optimizer.zero_grad()
            self.log(f"{name} is compiled; first loss {values[0].item() / values[2].item():.3f}")

    def run(self) -> None:
        a, log = self.a, self.log
        try:
            self.warm_up()
        except Exception as error:  # the models train without the compiler, at about half the speed
            log(f"not compiled: {type(error).__name__}: {error}")
            for state in self.states.values():
                state.packed.before, state.packed.after = before, after
                state.optimizer.zero_grad()
        sentences = dict(np.load(a.pack / "sentences.npz"))
        files: list[Path] = []
        while not files:
            files = sorted(a.rounds.glob("round-*.npz"))
            time.sleep(0.2)
            if log.elapsed > a.seconds:
                raise SystemExit("no speech came")
        data = read_rounds(files, sentences, a.pack / "real.npz")
        corpus = to_corpus(data, self.device)
        rng = np.random.default_rng(9)
        held = held_out(data)
        valid = {}
        for name in self.states:
            documents = draw_documents(data, held, rng, 1.0)
            documents = documents[document_lengths(documents) <= min(self.sizes[name], MAX_DOCUMENT)]
            valid[name] = pack_documents(documents, self.sizes[name], self.most)[:3]
        valid_corpus = corpus
        feed = Feed(data, corpus, self.sizes, self.most)
        self.began = log.elapsed
        log(f"begins with {len(data.frames_U)} utterances, {len(data.owner_F) / 75 / 3600:.2f} hours")
        span = a.seconds - self.began
        events: list[Any] = []
        sums: dict[str, Any] = {"ar": 0.0, "nar": 0.0}
        since, rounds, loading, saved = log.elapsed, 0, None, False
        fresh: list[tuple[Utterances, Corpus]] = []
        next_validation = self.began + 60
        while (progress := (log.elapsed - self.began) / span) < 1:
            for _ in range(2):
                sums["ar"] = sums["ar"] + self.train_ar(*feed.next("ar", self.device), progress)
            sums["nar"] = sums["nar"] + self.train_nar([feed.next("nar", self.device) for _ in range(2)], progress)
            rounds += 1
            if self.device == "cuda":  # the host stays at most four rounds ahead
                event = torch.cuda.Event()
                event.record()
                events.append(event)
                if len(events) > 4:
                    events.pop(0).synchronize()
            if rounds % 10 == 0:
                found = sorted(a.rounds.glob("round-*.npz"))
                if len(found) > len(files) and (loading is None or not loading.is_alive()) and not fresh:
                    files = found

                    def load(files: list[Path] = files) -> None:
                        new = read_rounds(files, sentences, a.pack / "real.npz")
                        fresh.append((new, to_corpus(new, self.device)))

                    loading = threading.Thread(target=load, daemon=True)
                    loading.start()
                if fresh:
                    data, corpus = feed.current = fresh.pop()
                    log(f"goes on with {len(data.frames_U)} utterances, {len(data.owner_F) / 75 / 3600:.2f} hours")
            if rounds % (5 if a.tiny else 50) == 0:
                values = {name: sums[name].cpu().tolist() for name in sums}
                seconds, since = log.elapsed - since, log.elapsed
                parts = [f"{100 * progress:4.1f} % step {self.states['ar'].steps}:"]
                for name in sums:
                    loss, right, count, guide = values[name]
                    each = guide / (2 * (5 if a.tiny else 50))
                    parts.append(
                        f"{name} {loss / count:.3f} nats {100 * right / count:.1f} % guide {each:.2f} {count / seconds:.0f}/s,"
                    )
                log(" ".join(parts))
                for name in sums:
                    if not self.states[name].check(values[name][0]):
                        log(f"{name}: not finite; back to the last average at half the rate")
                    sums[name] = 0.0
                if log.elapsed > next_validation:
                    log(self.validate(valid, valid_corpus))
                    next_validation = log.elapsed + 60
                if progress > 0.6 and not saved:
                    self.save(log.elapsed)
                    saved = True
        for state in self.states.values():
            if not all(bool(torch.isfinite(p).all()) for p in state.average):
                state.check(math.nan)
        self.save(log.elapsed)
        log(f"saved after {self.states['ar'].steps} and {self.states['nar'].steps} steps")
        log(self.validate(valid, valid_corpus))
        try:
            self.samples(data, 2 if a.tiny else 8)
        except Exception:
            log("no samples: " + traceback.format_exc(limit=3))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("rounds", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--ar-size", type=int, default=24_576)
    parser.add_argument("--nar-size", type=int, default=12_288)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--eager", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = Log(arguments.out / "log.txt")
    Learner(arguments, log).run()
    log("done")


if __name__ == "__main__":
    main()
