"""The two models of the voice while they learn: their steps, their validation, their weights.

Shapes: as in `packed.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

import numpy as np
import torch
import torch._dynamo
from safetensors.torch import save_file
from torch import Tensor

from voxbeam.models.transformer import TransformerConfig
from voxbeam.models.valle import ARModel, ModelConfig, NARModel

from benchmarks.voice.feed import Feed
from benchmarks.voice.growing import Growing
from benchmarks.voice.packed import Packed
from benchmarks.voice.speak import load_embedded_codec
from benchmarks.voice.steps import State, pinned

N_PHONES = 65
LEVELS = (1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7)
"""codebooks of the NAR model, as often as they are learned"""
LONGEST = 2048


class Learner:
    """Both models with their optimizers, and the corpus that they learn from."""

    def __init__(self, arguments: argparse.Namespace, log: Callable[[str], None]) -> None:
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
                        sums = torch.stack([torch.stack(self.loss(name, b, at, False)[:3]).double() for b in parts]).sum(0).cpu()
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
