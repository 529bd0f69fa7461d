"""Residual codebooks on vectors whose clusters are known."""

from __future__ import annotations

import pytest
import torch

from voxbeam.models.quantizer import ResidualVectorQuantizer
from voxbeam.trainer.codec.codebooks import CodebookLearner, perplexity


def books_of(dimension: int, size: int) -> CodebookLearner:
    return CodebookLearner(ResidualVectorQuantizer(dimension, n_codebooks=8, codebook_size=size))


def test_codebooks_find_the_clusters_and_restart_the_dead() -> None:
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(16, 8, generator=rng)
    vectors = centres.repeat(50, 1) + 0.01 * torch.randn(800, 8, generator=rng)
    books = books_of(8, 16)
    books.initialize(vectors, rng)
    error = (vectors - books.codebooks[0].embed_VD[books.codebooks[0].nearest(vectors)]).square().mean()
    assert error < 0.5 * vectors.var()
    z_BDT = vectors.T[None]
    quantized, commit = books.quantize(z_BDT, n_codebooks=8)
    assert (quantized - z_BDT).square().mean() < 0.01 * vectors.var()
    assert commit >= 0
    books.codebooks[0].count_V[3] = 0
    books.restart_dead(z_BDT, rng)
    assert books.codebooks[0].count_V[3] == 1
    assert (vectors - books.codebooks[0].embed_VD[3]).abs().sum(dim=1).min() == 0


def test_too_few_frames_cannot_initialize() -> None:
    with pytest.raises(ValueError, match="larger batch"):
        books_of(8, 16).initialize(torch.zeros(15, 8), torch.Generator())


def test_the_straight_through_gradient_is_the_identity() -> None:
    z_BDT = torch.randn(1, 32, 40, requires_grad=True)
    books_of(32, 32).quantize(z_BDT, n_codebooks=8)[0].sum().backward()
    assert z_BDT.grad is not None
    assert torch.equal(z_BDT.grad, torch.ones_like(z_BDT))


def test_perplexity_counts_codes_in_use() -> None:
    assert perplexity(torch.arange(16).repeat(3)) == pytest.approx(16)
    assert perplexity(torch.zeros(10, dtype=torch.long)) == pytest.approx(1)
