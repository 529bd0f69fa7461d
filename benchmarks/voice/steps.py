"""A training step of one model as one CUDA graph: forward, backward, Muon and AdamW, and the moving average.

At these sizes a host launches kernels more slowly than a GPU computes them. A graph is launched at once. So all that changes from
step to step is in tensors at fixed addresses: documents, levels of the NAR model, and `controls`.

Shapes: D documents, F fields of a document.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from voxbeam.models.valle import ARModel, NARModel

from benchmarks.voice.data import FIELDS
from benchmarks.voice.packed import Packed

WARM_UP_STEPS = 300
AVERAGED = 0.999
Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
"""documents and a level to the sums of losses and right codes, the number of codes, and the loss of the taught heads"""


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
    """Momentum orthogonalized (Liu et al. 2025, arXiv 2502.16982): the matrices of the blocks; AdamW takes all other weights.

    `scale` is a tensor, by which the peak rate is multiplied.
    """

    def __init__(self, model: nn.Module, rate: float, decay: float, scale: Tensor) -> None:
        d_model: int = model.transformer.config.d_model  # type: ignore[union-attr, assignment]
        named = dict(model.named_parameters())
        hidden = {name: p for name, p in named.items() if p.ndim == 2 and ".layers." in name and "modulation" not in name}
        others = {name: p for name, p in named.items() if name not in hidden}
        self.square: list[Tensor] = []
        self.wide: list[Tensor] = []
        for p in hidden.values():
            square = p.shape[0] % d_model == 0 and p.shape[1] == d_model and p.shape[0] <= 3 * d_model
            (self.square if square else self.wide).append(p)
        self.d_model, self.rate, self.decay, self.scale = d_model, rate, decay, scale
        self.momentum = {id(p): torch.zeros_like(p) for p in hidden.values()}
        self.hidden: list[Tensor] = list(hidden.values())
        self.others: list[Tensor] = list(others.values())
        matrices = [p for p in self.others if p.ndim >= 2]
        rest = [p for p in self.others if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
        cuda = scale.is_cuda
        self.adam_rate = torch.zeros((), device=scale.device)
        self.adam = torch.optim.AdamW(
            groups, lr=self.adam_rate, betas=(0.9, 0.98), fused=cuda, capturable=cuda, foreach=None if cuda else False
        )

    @torch.no_grad()
    def step(self) -> None:
        """One update."""
        nn.utils.clip_grad_norm_(self.others, 1.0, foreach=True)
        self.adam_rate.copy_(self.scale * (self.rate / 2))  # tied embeddings take less
        self.adam.step()
        gradients = [p.grad for p in self.hidden]
        moments = [self.momentum[id(p)] for p in self.hidden]
        torch._foreach_lerp_(moments, gradients, 0.05)  # type: ignore[arg-type]
        nesterov = dict(zip(map(id, self.hidden), torch._foreach_lerp(gradients, moments, 0.95), strict=True))  # type: ignore[arg-type]
        D = self.d_model
        torch._foreach_mul_(self.hidden, 1 - self.scale * (self.rate * self.decay))
        parts = [part for p in self.square for part in nesterov[id(p)].split(D)]
        pieces = [part for p in self.square for part in p.split(D)]
        update = newton_schulz(torch.stack(parts)).float() * (self.scale * (-self.rate * 0.2 * D**0.5))
        torch._foreach_add_(pieces, list(update.unbind(0)))
        turned = [p.shape[0] > p.shape[1] for p in self.wide]
        wide = torch.stack([nesterov[id(p)].T if t else nesterov[id(p)] for p, t in zip(self.wide, turned, strict=True)])
        update = newton_schulz(wide).float() * (self.scale * (-self.rate * 0.2 * max(self.wide[0].shape) ** 0.5))
        torch._foreach_add_(self.wide, [u.T if t else u for u, t in zip(update.unbind(0), turned, strict=True)])

    def zero_grad(self) -> None:
        for p in (*self.hidden, *self.others):
            p.grad = None

    @torch.no_grad()
    def forget(self) -> None:
        for moment in self.momentum.values():
            moment.zero_()
        for state in self.adam.state.values():
            for value in state.values():
                value.zero_()


class State:
    """A model with its optimizer, its average, and the last average that was finite.

    A step takes `count` batches of documents, one after the other, and updates once.
    """

    def __init__(
        self,
        name: str,
        model: ARModel | NARModel,
        packed: Packed,
        loss: Loss,
        *,
        rate: float,
        decay: float,
        count: int,
        most: int,
    ) -> None:
        self.name, self.model, self.packed, self.loss = name, model, packed, loss
        device = next(model.parameters()).device
        self.controls = torch.zeros(3, device=device)
        """scale of the rate, weight of the taught heads' loss, and share of the new weights in the average"""
        self.optimizer = Muon(model, rate, decay, self.controls[0])
        self.parameters: list[Tensor] = list(model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.kept = [p.clone() for p in self.average]
        self.documents = [torch.zeros(most, len(FIELDS), dtype=torch.int64, device=device) for _ in range(count)]
        self.levels = torch.ones(count, dtype=torch.int64, device=device)
        self.sums = torch.zeros(4, device=device)
        self.steps, self.brake = 0, 1.0
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None
        self.graph: torch.cuda.CUDAGraph | None = None

    def body(self) -> None:
        """What a step computes."""
        count = len(self.documents)
        for index, documents_DF in enumerate(self.documents):
            loss, right, codes, guide = self.loss(documents_DF, self.levels[index])
            ((loss / codes.clamp(min=1) + self.controls[1] * guide) / count).backward()
            self.sums += torch.stack([loss.detach(), right.float(), codes, guide.detach() / count])
        with torch.no_grad():
            self.optimizer.step()
            change = torch._foreach_sub(self.parameters, self.average)
            torch._foreach_mul_(change, self.controls[2])
            torch._foreach_add_(self.average, change)

    def capture(self) -> None:
        """Compiles the step and records it; weights and states are as before."""
        if self.stream is None:
            return
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):  # with a rate of zero
            for _ in range(3):
                self.optimizer.zero_grad()
                self.body()
        torch.cuda.synchronize()
        self.optimizer.zero_grad()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self.body()
        self.graph = graph
        torch.cuda.synchronize()

    def begin(self) -> None:
        """Forgets what a warm-up left."""
        self.optimizer.forget()
        self.sums.zero_()
        self.steps = 0
        if self.stream is not None:
            torch.cuda.synchronize()

    def step(self, batches: list[Tensor], levels: list[int], scale: float, guide: float) -> None:
        """One update on documents in pinned memory."""
        scale *= min(1.0, (self.steps + 1) / WARM_UP_STEPS) * self.brake
        share = 1 - min(AVERAGED, (1 + self.steps) / (10 + self.steps))
        with torch.cuda.stream(self.stream):
            for target, batch in zip(self.documents, batches, strict=True):
                target.copy_(batch, non_blocking=True)
            self.levels.copy_(pinned(torch.tensor(levels)), non_blocking=True)
            self.controls.copy_(pinned(torch.tensor([scale, guide, share])), non_blocking=True)
            if self.graph is not None:
                self.graph.replay()
            else:
                self.optimizer.zero_grad()
                self.body()
        self.steps += 1

    def read(self) -> tuple[float, float, float, float]:
        """`sums` since the last time."""
        with torch.cuda.stream(self.stream):
            loss, right, codes, guide = self.sums.tolist()
            self.sums.zero_()
        return loss, right, codes, guide

    @torch.no_grad()
    def check(self, loss: float) -> bool:
        """Keeps the average if the loss is finite, else goes back to the kept one at half the rate."""
        with torch.cuda.stream(self.stream):
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


def pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if torch.cuda.is_available() else tensor
