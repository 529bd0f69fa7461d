"""Residual codebooks (EnCodec, section 3.2): seeded, learned by moving averages, and kept in use.

Training works on the buffers of `voxbeam.models.quantizer`, which encodes and decodes with them.

Shapes: B batch, T frames, D latent dimension, V codes per book, N vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.models.quantizer import ResidualVectorQuantizer


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

    def __init__(self, quantizer: ResidualVectorQuantizer, decay: float = 0.99, restart_below: float = 0.1) -> None:
        self.books = [Book(book.embed, book.cluster_size, book.embed_avg) for book in quantizer.codebooks]
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
        z_ND = frames(z_BDT)
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
        residual_ND = frames(z_BDT)
        for book in self.books:
            dead = (book.count_V < self.restart_below).nonzero()[: len(residual_ND), 0]
            fresh = residual_ND[torch.randperm(len(residual_ND), generator=rng)[: len(dead)]]
            book.embed_VD[dead], book.sum_VD[dead], book.count_V[dead] = fresh, fresh, 1.0
            residual_ND = residual_ND - book.embed_VD[book.nearest(residual_ND)]


def frames(z_BDT: Tensor) -> Tensor:
    """Latents [B, D, T] as vectors [N, D], N = B T."""
    return z_BDT.transpose(1, 2).reshape(-1, z_BDT.shape[1])


def perplexity(codes_N: Tensor) -> float:
    """exp(entropy) of the codes used: V when all are used alike, 1 when one code says everything."""
    share = torch.bincount(codes_N) / len(codes_N)
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def _assign(codes_N: Tensor, vectors_ND: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many vectors each code was chosen for [V], and their sum [V, D]."""
    count_V = torch.bincount(codes_N, minlength=size).to(vectors_ND.dtype)
    sum_VD = torch.zeros(size, vectors_ND.shape[1], dtype=vectors_ND.dtype, device=vectors_ND.device)
    return count_V, sum_VD.index_add_(0, codes_N, vectors_ND)
