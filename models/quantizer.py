"""Residual vector quantizer: latents to codes and back (SoundStream, arXiv 2107.03312, section 3.3; EnCodec, arXiv 2210.13438,
section 3.2).

The first codebook quantizes the latent of a frame, each further codebook the residual of the previous ones. This module
encodes and decodes; `voxbeam.trainer.codec.codebooks` trains the codebooks in these buffers.

Shapes: B batch, T frames, D latent dimension, K codebooks, V codes per codebook, N vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Codebook(nn.Module):
    """One codebook: vectors `embed` [V, D], and what their exponential moving averages (EMA) need.

    Names and shapes of the buffers are those of the published EnCodec checkpoint.
    """

    inited: Tensor
    cluster_size: Tensor
    embed: Tensor
    embed_avg: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        embed_VD = nn.init.kaiming_uniform_(torch.empty(size, dimension))  # until it is initialized or loaded
        self.register_buffer("inited", torch.ones(1))  # the published checkpoint has it; nothing here reads it
        self.register_buffer("cluster_size", torch.zeros(size))  # EMA of how often each code is chosen
        self.register_buffer("embed", embed_VD)
        self.register_buffer("embed_avg", embed_VD.clone())  # EMA of the sum of the vectors that chose each code

    def encode(self, x_BTD: Tensor) -> Tensor:
        """Index of the nearest code of each vector, [B, T]."""
        x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
        codes_DV = self.embed.T
        # |x|² does not change which code is nearest, but its rounding decides near ties: with it the codes are exactly
        # those of the reference implementation of EnCodec.
        distance_NV = x_ND.square().sum(1, keepdim=True) - 2 * x_ND @ codes_DV + codes_DV.square().sum(0, keepdim=True)
        return distance_NV.argmin(1).view(x_BTD.shape[:-1])

    def decode(self, codes_BT: Tensor) -> Tensor:
        """The vector of each code, [B, T, D]."""
        return F.embedding(codes_BT, self.embed)


class ResidualVectorQuantizer(nn.Module):
    """K codebooks in sequence. The first few alone are a coarser quantizer."""

    def __init__(self, dimension: int, n_codebooks: int, codebook_size: int) -> None:
        super().__init__()
        self.n_codebooks = n_codebooks
        self.codebook_size = codebook_size
        # The nesting gives the names of the published checkpoint: `vq.layers.0._codebook.embed`.
        codebooks = (Codebook(codebook_size, dimension) for _ in range(n_codebooks))
        self.vq = nn.ModuleDict({"layers": nn.ModuleList(nn.ModuleDict({"_codebook": codebook}) for codebook in codebooks)})

    @property
    def codebooks(self) -> list[Codebook]:
        """All codebooks, first to last."""
        return [module for module in self.vq.modules() if isinstance(module, Codebook)]

    def encode(self, z_BDT: Tensor) -> Tensor:
        """Latents [B, D, T] to codes [K, B, T]."""
        residual_BTD = z_BDT.transpose(1, 2)
        codes_KBT = []
        for codebook in self.codebooks:
            codes_BT = codebook.encode(residual_BTD)
            residual_BTD = residual_BTD - codebook.decode(codes_BT)
            codes_KBT.append(codes_BT)
        return torch.stack(codes_KBT)

    def decode(self, codes_KBT: Tensor) -> Tensor:
        """Codes [K, B, T] to latents [B, D, T]: the sum of the vectors. K may be fewer than all codebooks."""
        vectors = [codebook.decode(codes_BT) for codebook, codes_BT in zip(self.codebooks, codes_KBT, strict=False)]
        return sum(vectors[1:], vectors[0]).transpose(1, 2)
