"""The residual vector quantizer, against its definition."""

from __future__ import annotations

import torch

from voxbeam.models.quantizer import ResidualVectorQuantizer


def test_each_codebook_quantizes_what_the_ones_before_leave_over() -> None:
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(dimension=6, n_codebooks=3, codebook_size=16)
    z_BDT = torch.randn(2, 6, 11)
    codes_KBT = quantizer.encode(z_BDT)
    residual_BTD = z_BDT.transpose(1, 2)
    for book, codes_BT in zip(quantizer.codebooks, codes_KBT, strict=True):
        assert torch.equal(torch.cdist(residual_BTD, book.embed).argmin(2), codes_BT)
        residual_BTD = residual_BTD - book.embed[codes_BT]
    torch.testing.assert_close(quantizer.decode(codes_KBT), z_BDT - residual_BTD.transpose(1, 2))


def test_a_prefix_of_the_codebooks_decodes() -> None:
    quantizer = ResidualVectorQuantizer(dimension=6, n_codebooks=3, codebook_size=16)
    codes_1BT = torch.tensor([[[3, 0, 15]]])
    assert torch.equal(quantizer.decode(codes_1BT), quantizer.codebooks[0].embed[codes_1BT[0]].transpose(1, 2))


def test_nothing_in_it_is_learned_by_gradient() -> None:
    """Codebooks learn by moving averages, so an optimizer must not find them."""
    assert not list(ResidualVectorQuantizer(dimension=6, n_codebooks=3, codebook_size=16).parameters())
