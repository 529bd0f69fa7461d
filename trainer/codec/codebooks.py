"""Learns residual codebooks by moving averages (EnCodec, arXiv 2210.13438, section 3.2).

Codebooks are initialized by k-means, updated by exponential moving averages (EMA), and codes that fall out of use restart.
Training works on the buffers of `voxbeam.models.quantizer`, which encodes and decodes with them.

Shapes: B batch, T frames, D latent dimension, V codes per codebook, N vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from voxbeam.models.quantizer import ResidualVectorQuantizer


@dataclass
class CodebookState:
    """One codebook in training: views of the quantizer's buffers.

    Counts and sums are in units of an even distribution: a code's count is 1 if all codes are chosen equally often.
    """

    embed_VD: Tensor
    count_V: Tensor
    """EMA of how often each code is chosen"""
    sum_VD: Tensor
    """EMA of the sum of the vectors that chose each code"""

    def nearest(self, vectors_ND: Tensor) -> Tensor:
        """The nearest code of each vector [N]. |v|² is the same for all codes and is left out of the distance."""
        return torch.addmm(self.embed_VD.square().sum(1), vectors_ND, self.embed_VD.T, alpha=-2).argmin(1)


class CodebookLearner:
    """Learns all codebooks of a quantizer. A code whose count falls below `restart_below` is restarted."""

    def __init__(self, quantizer: ResidualVectorQuantizer, decay: float = 0.99, restart_below: float = 0.1) -> None:
        self.codebooks = [CodebookState(each.embed, each.cluster_size, each.embed_avg) for each in quantizer.codebooks]
        self.decay = decay
        self.restart_below = restart_below

    @torch.no_grad()
    def initialize(self, vectors_ND: Tensor, rng: torch.Generator, rounds: int = 10) -> None:
        """k-means (Lloyd's algorithm), codebook after codebook, on the residual of the previous ones.

        Raises ValueError for fewer vectors than codes.
        """
        residual_ND = vectors_ND
        for codebook in self.codebooks:
            size = len(codebook.embed_VD)
            if len(residual_ND) < size:
                raise ValueError(f"{len(residual_ND)} frames are too few for {size} codes: use a larger batch or longer crops")
            codebook.embed_VD.copy_(residual_ND[torch.randperm(len(residual_ND), generator=rng)[:size]])
            for _ in range(rounds):
                count_V, sum_VD = _assign(codebook.nearest(residual_ND), residual_ND, size)
                used = count_V > 0
                codebook.embed_VD[used] = sum_VD[used] / count_V[used, None]
            codebook.count_V.copy_(count_V.clamp(min=0.5) * size / len(residual_ND))
            codebook.sum_VD.copy_(codebook.embed_VD * codebook.count_V[:, None])
            residual_ND = residual_ND - codebook.embed_VD[codebook.nearest(residual_ND)]

    def quantize(self, z_BDT: Tensor, n_codebooks: int) -> tuple[Tensor, Tensor]:
        """Quantizes latents with the first codebooks, and updates these.

        Returns latents [B, D, T] with a straight-through gradient, and the commitment loss.
        """
        z_ND = flatten_frames(z_BDT)
        residual_ND = z_ND.detach()
        for codebook in self.codebooks[:n_codebooks]:
            codes_N = codebook.nearest(residual_ND)
            chosen_ND = codebook.embed_VD[codes_N]
            self._update(codebook, codes_N, residual_ND)
            residual_ND = residual_ND - chosen_ND
        commit = F.mse_loss(z_ND, z_ND.detach() - residual_ND) / z_ND.detach().var()
        return z_BDT - residual_ND.view(len(z_BDT), -1, z_BDT.shape[1]).transpose(1, 2), commit

    @torch.no_grad()
    def _update(self, codebook: CodebookState, codes_N: Tensor, vectors_ND: Tensor) -> None:
        count_V, sum_VD = _assign(codes_N, vectors_ND, len(codebook.embed_VD))
        even_count = len(vectors_ND) / len(codebook.embed_VD)
        codebook.count_V.lerp_(count_V / even_count, 1 - self.decay)
        codebook.sum_VD.lerp_(sum_VD / even_count, 1 - self.decay)
        alive = codebook.count_V > 1e-3
        codebook.embed_VD[alive] = codebook.sum_VD[alive] / codebook.count_V[alive, None]

    @torch.no_grad()
    def restart_dead(self, z_BDT: Tensor, rng: torch.Generator) -> None:
        """Moves codes that fell out of use onto random vectors of this batch, as far as it has enough of them."""
        residual_ND = flatten_frames(z_BDT)
        for codebook in self.codebooks:
            dead = (codebook.count_V < self.restart_below).nonzero()[: len(residual_ND), 0]
            fresh = residual_ND[torch.randperm(len(residual_ND), generator=rng)[: len(dead)]]
            codebook.embed_VD[dead], codebook.sum_VD[dead], codebook.count_V[dead] = fresh, fresh, 1.0
            residual_ND = residual_ND - codebook.embed_VD[codebook.nearest(residual_ND)]


def flatten_frames(z_BDT: Tensor) -> Tensor:
    """Latents [B, D, T] as vectors [B T, D]."""
    return z_BDT.transpose(1, 2).reshape(-1, z_BDT.shape[1])


def perplexity(codes_N: Tensor) -> float:
    """exp(entropy) of the codes: V if all are used equally, 1 if there is only one."""
    probability = torch.bincount(codes_N) / len(codes_N)
    probability = probability[probability > 0]
    return float(torch.exp(-(probability * probability.log()).sum()))


def _assign(codes_N: Tensor, vectors_ND: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many vectors chose each code [V], and their sum [V, D]."""
    count_V = torch.bincount(codes_N, minlength=size).to(vectors_ND.dtype)
    sum_VD = torch.zeros(size, vectors_ND.shape[1], dtype=vectors_ND.dtype, device=vectors_ND.device)
    return count_V, sum_VD.index_add_(0, codes_N, vectors_ND)
