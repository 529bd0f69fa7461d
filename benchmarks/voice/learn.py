"""Trains the AR and the NAR model of the voice in the box on one GPU, in a given time, while `speak.py` makes the speech.

    python -m benchmarks.voice.learn PACK ROUNDS OUT --seconds 400 [--tiny]

It compiles first, begins with the first files in ROUNDS, and takes up the others as they come. A step of a model is one CUDA
graph (`steps.py`); both models learn at the same time. The learning rate falls linearly to zero at the end of the time. OUT gets
the averaged weights in bfloat16 (ar-0.safetensors, ar-1, nar-0, nar-1), log.txt, and the codes of PACK/requests.npz as both
models speak them, at several settings of the sampling.

Shapes: as in `packed.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import torch
import torch._dynamo
from safetensors.torch import save_file
from torch import Tensor

from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel
from voxbeam.synthesis.generate import Request, generate
from voxbeam.synthesis.sampling import SamplingConfig

from benchmarks.voice.data import (
    FIELDS,
    MAX_DOCUMENT,
    Piece,
    Utterances,
    document_lengths,
    draw_documents,
    join,
    pack_codes,
    pack_documents,
    read_recorded,
    read_round,
)
from benchmarks.voice.packed import Corpus, Packed
from benchmarks.voice.speak import load_embedded_codec
from benchmarks.voice.steps import State, pinned

N_PHONES = 65
LEVELS = (1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7)
TEXTLESS = 0.08
"""share of the documents from which the AR model learns speech without text, for guidance"""
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


class Growing:
    """A corpus on the device at fixed addresses, to which utterances are added."""

    def __init__(self, device: str, hours: float) -> None:
        frames = int(hours * 3600 * 75)
        self.corpus = Corpus(
            torch.zeros(frames // 3, dtype=torch.int16, device=device),
            torch.zeros(frames, dtype=torch.int16, device=device),
            torch.zeros(8, frames, dtype=torch.int16, device=device),
        )
        self.pieces: list[Piece] = []
        self.phones = self.frames = 0

    def add(self, piece: Piece) -> bool:
        """False if it does not fit."""
        phones, frames = self.phones + len(piece["phones_P"]), self.frames + len(piece["owner_F"])
        if phones > len(self.corpus.phones_P) or frames > len(self.corpus.owner_F):
            return False
        self.corpus.phones_P[self.phones : phones].copy_(torch.from_numpy(piece["phones_P"].astype(np.int16)))
        self.corpus.owner_F[self.frames : frames].copy_(torch.from_numpy(piece["owner_F"].astype(np.int16)))
        self.corpus.codes_KF[:, self.frames : frames].copy_(torch.from_numpy(piece["codes_KF"].astype(np.int16)))
        if torch.cuda.is_available():
            torch.cuda.current_stream().synchronize()
        self.phones, self.frames = phones, frames
        self.pieces.append(piece)
        return True


class Feed:
    """Batches of documents from a thread; `data` may be replaced at any time."""

    def __init__(self, data: Utterances, sizes: dict[str, int], most: int) -> None:
        self.sizes, self.most, self.data = sizes, most, data
        self.queues: dict[str, Queue[Tensor]] = {name: Queue(64) for name in sizes}
        for number, name in enumerate(sizes):
            threading.Thread(target=self._fill, args=(name, number), daemon=True).start()

    def _fill(self, name: str, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while True:
            data = self.data
            for batch in batches_of(data, rng, self.sizes[name], self.most, name == "ar"):
                self.queues[name].put(pinned(torch.from_numpy(batch)))
                if self.data is not data:
                    break


def batches_of(data: Utterances, rng: np.random.Generator, size: int, most: int, ar: bool) -> Iterator[np.ndarray]:
    """An epoch of batches: every utterance as the target once, recorded ones twice.

    The AR model also learns without a prompt, and without text.
    """
    chosen = np.flatnonzero(~data.held_U)
    chosen = np.concatenate([chosen, chosen[~data.exact_U[chosen]]])
    rng.shuffle(chosen)
    documents = draw_documents(data, chosen, rng, 0.93 if ar else 1.0)
    lengths = document_lengths(documents)
    documents = documents[(lengths <= min(size, MAX_DOCUMENT)) & (documents[:, 7] >= 15) & (documents[:, 3] >= 1)]
    if ar:
        fields = [FIELDS.index(name) for name in ("prompt_phones", "target_phones", "guided")]
        documents[np.ix_(rng.random(len(documents)) < TEXTLESS, fields)] = 0
    yield from pack_documents(documents, size, most)


class Learner:
    def __init__(self, arguments: argparse.Namespace, log: Log) -> None:
        self.a, self.log = arguments, log
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch._dynamo.config.suppress_errors = True  # what does not compile runs as it is
        torch._dynamo.config.cache_size_limit = 32
        tiny = arguments.tiny
        self.sizes = {"ar": 2560, "nar": 2048} if tiny else {"ar": arguments.ar_size, "nar": arguments.nar_size}
        self.most = 16 if tiny else 96
        ar = TransformerConfig(n_layers=4, n_heads=2, d_model=64, d_ff=128, dropout=0.05)
        nar = TransformerConfig(n_layers=2, n_heads=2, d_model=64, d_ff=128, dropout=0.03)
        if not tiny:
            ar = TransformerConfig(n_layers=7, n_heads=6, d_model=384, d_ff=1536, dropout=0.05)
            nar = TransformerConfig(n_layers=6, n_heads=5, d_model=320, d_ff=1280, dropout=0.03)
        self.configs = {
            "ar": ModelConfig(n_phones=N_PHONES, transformer=ar),
            "nar": ModelConfig(n_phones=N_PHONES, transformer=nar),
        }
        self.codec = load_embedded_codec(self.device)
        codebooks = torch.stack([book.embed for book in self.codec.quantizer.codebooks])
        self.growing = Growing(self.device, 2 if tiny else 100)
        torch.manual_seed(0)
        self.states: dict[str, State] = {}
        for name, cls in (("ar", ARModel), ("nar", NARModel)):
            model = cls(self.configs[name])
            model.init_from_codec(codebooks)
            model = model.to(self.device).train()
            compiled = self.device == "cuda" and not arguments.eager
            packed = Packed(model, self.sizes[name], LONGEST, compiled=compiled, dropout=self.configs[name].transformer.dropout)
            rate, count = (arguments.rate, 1) if name == "ar" else (arguments.nar_rate, 2)
            loss = partial(self.loss, name, train=True)
            self.states[name] = State(name, model, packed, loss, rate=rate, decay=0.1, count=count, most=self.most)
        self.levels = np.random.default_rng(3)
        self.queue_levels: list[int] = []

    def loss(self, name: str, documents: Tensor, level: Tensor, train: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        packed, corpus = self.states[name].packed, self.growing.corpus
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            taught = 256 if self.a.tiny else 1024
            if name == "ar":
                layers = (1, 2) if self.a.tiny else (2, 3)
                return packed.ar(documents, corpus, corrupt=0.04 if train else 0.0, taught=taught, layers=layers)
            layers = (0, 1) if self.a.tiny else (1, 2)
            return packed.nar(documents, corpus, level, corrupt=0.02 if train else 0.0, taught=taught, layers=layers)

    def draw_levels(self, count: int) -> list[int]:
        """Codebooks of the NAR model to learn: the lower ones carry the words."""
        if len(self.queue_levels) < count:
            self.queue_levels = self.levels.permutation(LEVELS).tolist()
        return [self.queue_levels.pop() for _ in range(count)]

    def step(self, name: str, feed: Feed, progress: float) -> None:
        state = self.states[name]
        batches = [feed.queues[name].get() for _ in state.documents]
        high, low = (0.3, 0.05) if name == "ar" else (0.2, 0.02)
        guide = high if progress < 0.15 else low if progress > 0.4 else high + (low - high) * (progress - 0.15) / 0.25
        state.step(batches, self.draw_levels(2) if name == "nar" else [1], 1 - progress, guide)

    def validate(self, batches: dict[str, dict[str, list[Tensor]]]) -> str:
        """By the averaged weights, with plain operations: what they compile to has dropout."""
        found = []
        if self.device == "cuda":
            torch.cuda.synchronize()
        with torch.no_grad():
            for name, state in self.states.items():
                state.swap()
                state.model.eval()
                state.packed.compile(False)
                for kind, parts in batches[name].items():
                    for level in (1,) if name == "ar" else (1, 4, 7):
                        at = torch.full((), level, device=self.device)
                        sums = sum(torch.stack(self.loss(name, b, at, False)[:3]).double().cpu() for b in parts)
                        label = f"{name}{level if name == 'nar' else ''} {kind}"
                        found.append(f"{label} {sums[0] / sums[2]:.3f} nats {100 * sums[1] / sums[2]:.1f} %")
                state.packed.compile(state.packed.compiled)
                state.model.train()
                state.swap()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return "valid: " + ", ".join(found)

    def save(self, elapsed: float) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()
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

    def speak(self) -> None:
        """The requests of the pack, as the product speaks them: codes, at several settings of the sampling."""
        path = self.a.pack / "requests.npz"
        if not path.exists():
            return
        for state in self.states.values():
            state.swap()
            state.model.eval()
        ar, nar = (self.states[name].model for name in ("ar", "nar"))
        arrays = dict(np.load(path))
        phones = np.split(arrays["phones"].astype(np.int64), np.cumsum(arrays["phone_counts"])[:-1])
        prompts = np.split(arrays["prompts"].astype(np.int16), np.cumsum(arrays["prompt_frames"])[:-1], axis=1)
        requests = [
            Request(phones_L=p, prompt_KP=k, max_frames=min(90 if self.a.tiny else 1400, int(m)))
            for p, k, m in zip(phones, prompts, arrays["max_frames"], strict=True)
        ]
        settings = json.loads(str(arrays["settings"]))
        made: dict[str, np.ndarray] = {}
        for number, setting in enumerate(settings[:2] if self.a.tiny else settings):
            if self.log.elapsed > self.a.seconds + self.a.speak_seconds:
                break
            began = self.log.elapsed
            results = generate(ar, nar, requests, SamplingConfig(**setting), seed=number)  # type: ignore[arg-type]
            made[f"frames-{number}"] = np.array([r.codes_KT.shape[1] for r in results])
            made[f"ended-{number}"] = np.array([r.finished for r in results])
            made[f"codes-{number}"] = pack_codes(np.concatenate([r.codes_KT for r in results], 1).astype(np.int64))
            np.savez(self.a.out / "spoken.npz", **made)
            self.log(f"{setting}: {sum(r.finished for r in results)} of {len(results)} end, {self.log.elapsed - began:.1f} s")
        for state in self.states.values():
            state.swap()

    def warm_up(self) -> None:
        """Compiles and records the steps, with made-up documents."""
        for name, state in self.states.items():
            for documents in state.documents:
                for row in range(max(1, self.sizes[name] // 900)):
                    documents[row] = torch.tensor((0, 40, 50, 80, 0, 225, 300, 400, 0, 0, 1))
            if state.stream is not None:
                try:
                    state.capture()
                    self.log(f"{name}: a step is a graph")
                except Exception as error:  # without a graph, the host launches every kernel
                    self.log(f"{name}: no graph: {type(error).__name__}: {str(error)[:300]}")
                    torch.cuda.synchronize()
            state.begin()

    def profile(self, steps: int = 60) -> None:
        """Times of a step of each model, alone and together, on made-up documents."""
        for names in (("ar",), ("nar",), ("ar", "nar")):
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(steps):
                for name in names:
                    state = self.states[name]
                    state.step([pinned(d.cpu()) for d in state.documents], [1] * len(state.documents), 0.0, 0.0)
            torch.cuda.synchronize()
            self.log(f"{' and '.join(names)}: {1000 * (time.perf_counter() - began) / steps:.2f} ms a step")
        for name, state in self.states.items():
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
                for _ in range(3):
                    state.step([pinned(d.cpu()) for d in state.documents], [1] * len(state.documents), 0.0, 0.0)
                torch.cuda.synchronize()
            table = profiler.key_averages().table(sort_by="cuda_time_total", row_limit=28, max_name_column_width=70)
            (self.a.out / f"profile-{name}.txt").write_text(table)
        for state in self.states.values():
            state.begin()

    def run(self) -> None:
        a, log = self.a, self.log
        self.warm_up()
        if a.profile:
            self.profile()
            return
        sentences = dict(np.load(a.pack / "sentences.npz"))
        for number, file in enumerate(sorted(a.pack.glob("real-*.npz"))):
            self.growing.add(read_recorded(file, 10_000 + 10_000 * number))
        recorded = len(self.growing.pieces)
        files: set[Path] = set()

        def take_up() -> int:
            """Adds the files that are new."""
            new = [file for file in sorted(a.rounds.glob("round-*.npz")) if file not in files]
            for file in new:
                files.add(file)
                if not self.growing.add(read_round(file, sentences, 40 if len(files) <= 2 else 0)):
                    log(f"no room for {file.name}")
            return len(new)

        while len(files) < min(2, a.first):
            take_up()
            time.sleep(0.2)
            if log.elapsed > a.seconds:
                raise SystemExit("no speech came")
        data = join(self.growing.pieces)
        rng = np.random.default_rng(9)
        valid: dict[str, dict[str, list[Tensor]]] = {}
        for name in self.states:
            valid[name] = {}
            for kind, first, end in (("recorded", 0, recorded), ("made", recorded, len(self.growing.pieces))):
                edges = np.cumsum([0, *(len(piece["frames_U"]) for piece in self.growing.pieces)])
                held = np.flatnonzero(data.held_U)
                held = held[(held >= edges[first]) & (held < edges[end])]
                documents = draw_documents(data, held, rng, 1.0) if len(held) else np.zeros((0, len(FIELDS)), np.int64)
                documents = documents[document_lengths(documents) <= min(self.sizes[name], MAX_DOCUMENT)]
                batches = pack_documents(documents, self.sizes[name], self.most)[:3]
                if batches:
                    valid[name][kind] = [torch.from_numpy(batch).to(self.device) for batch in batches]
        feed = Feed(data, self.sizes, self.most)
        self.began = log.elapsed
        log(f"begins with {len(data.frames_U)} utterances, {len(data.owner_F) / 75 / 3600:.2f} hours")
        span = a.seconds - self.began
        events: list[Any] = []
        since, rounds, loading, saved = log.elapsed, 0, None, False
        next_validation = self.began + 45
        every = 5 if a.tiny else 200
        steps = dict.fromkeys(self.states, 0)
        while (progress := (log.elapsed - self.began) / span) < 1:
            for name in self.states:
                self.step(name, feed, progress)
            rounds += 1
            if rounds % 2 == 0:  # the NAR model learns more slowly, and makes most of the likeness
                self.step("nar", feed, progress)
            if self.device == "cuda":  # the host stays at most twelve rounds ahead
                events.append([torch.cuda.Event() for _ in self.states])
                for event, state in zip(events[-1], self.states.values(), strict=True):
                    event.record(state.stream)
                if len(events) > 12:
                    for event in events.pop(0):
                        event.synchronize()
            if rounds % 20 == 0 and (loading is None or not loading.is_alive()):

                def load() -> None:
                    if take_up():
                        feed.data = join(self.growing.pieces)
                        log(f"goes on with {len(feed.data.frames_U)} utterances, {len(feed.data.owner_F) / 75 / 3600:.2f} hours")

                loading = threading.Thread(target=load, daemon=True)
                loading.start()
            if rounds % every == 0:
                if self.device == "cuda":
                    torch.cuda.synchronize()
                seconds, since = log.elapsed - since, log.elapsed
                parts = [f"{100 * progress:4.1f} %"]
                for name, state in self.states.items():
                    loss, right, count, guide = state.read()
                    each = guide / max(1, state.steps - steps[name])
                    steps[name] = state.steps
                    parts.append(f"{name} {state.steps}: {loss / count:.3f} nats {100 * right / count:.1f} %")
                    parts.append(f"guide {each:.2f} {count / seconds:.0f}/s,")
                    if not state.check(loss):
                        parts.append("not finite; back to the last average at half the rate,")
                log(" ".join(parts))
                if log.elapsed > next_validation:
                    log(self.validate(valid))
                    next_validation = log.elapsed + 45
                if progress > 0.6 and not saved:
                    self.save(log.elapsed)
                    saved = True
        for state in self.states.values():
            if not all(bool(torch.isfinite(p).all()) for p in state.average):
                state.check(math.nan)
        self.save(log.elapsed)
        log(f"saved after {self.states['ar'].steps} and {self.states['nar'].steps} steps")
        log(self.validate(valid))
        try:
            self.speak()
        except Exception:
            log("not spoken: " + traceback.format_exc(limit=5))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("rounds", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--rate", type=float, default=1.6e-3)
    parser.add_argument("--nar-rate", type=float, default=1.2e-3)
    parser.add_argument("--ar-size", type=int, default=24_576)
    parser.add_argument("--nar-size", type=int, default=12_288)
    parser.add_argument("--first", type=int, default=2, help="rounds to wait for")
    parser.add_argument("--speak-seconds", type=float, default=25)
    parser.add_argument("--profile", action="store_true", help="only times the steps")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--eager", action="store_true")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    log = Log(arguments.out / "log.txt")
    Learner(arguments, log).run()
    log("done")


if __name__ == "__main__":
    main()
