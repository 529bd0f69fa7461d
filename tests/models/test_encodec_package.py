"""Our quantizer and model beside those of the PyPI package `encodec`, on the same weights: the codes are the same bit for bit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from voxbeam.models.codec import Codec, load_codec
from voxbeam.models.codec_model import CodecConfig, build_codec
from voxbeam.models.quantizer import ResidualVectorQuantizer

from tests.models.test_codec import noise, randomize_codebooks

encodec = pytest.importorskip("encodec")

BEYOND_6_KBPS = tuple(f"quantizer.vq.layers.{book}." for book in range(8, 32))


@pytest.mark.parametrize("frames", [1, 7, 750])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("dimension", "size"), [(16, 64), (64, 1024), (128, 1024)])
def test_quantizes_as_the_package_does(dimension: int, size: int, batch: int, frames: int) -> None:
    torch.manual_seed(0)
    stock = encodec.quantization.ResidualVectorQuantizer(dimension=dimension, n_q=8, bins=size, kmeans_init=False).eval()
    ours = ResidualVectorQuantizer(dimension, n_codebooks=8, codebook_size=size)
    for book in ours.codebooks:
        book.embed.normal_(0, 0.7)
    stock.load_state_dict(ours.state_dict())  # strict: the names are the same
    for z_BDT in (torch.randn(batch, dimension, frames), torch.randn(batch, frames, dimension).transpose(1, 2)):
        codes_KBT = ours.encode(z_BDT)
        assert torch.equal(codes_KBT, stock.vq.encode(z_BDT))
        for books in (1, 8):
            assert torch.equal(ours.decode(codes_KBT[:books]), stock.vq.decode(codes_KBT[:books]))


def test_encodes_as_the_encodec_package_does() -> None:
    torch.manual_seed(1)
    stock = randomize_codebooks(encodec.EncodecModel.encodec_model_24khz(pretrained=False))
    stock.set_target_bandwidth(6.0)
    wave = noise(8_000)
    with torch.inference_mode():
        [(codes, _)] = stock.encode(torch.from_numpy(wave)[None, None])
        sound = stock.decode([(codes, None)])[0, 0].numpy()
    state = {name: value for name, value in stock.state_dict().items() if not name.startswith(BEYOND_6_KBPS)}
    model = build_codec(CodecConfig())
    model.load_state_dict(state)
    ours = Codec(model, sha256="")
    np.testing.assert_array_equal(ours.encode([wave])[0], codes[0].numpy())
    np.testing.assert_array_equal(ours.decode([codes[0].numpy()])[0], sound)


def test_reads_the_published_form(tmp_path: Path) -> None:
    torch.manual_seed(2)
    stock = randomize_codebooks(encodec.EncodecModel.encodec_model_24khz(pretrained=False))
    assert sum(name.endswith("_codebook.embed") for name in stock.state_dict()) == 32
    path = tmp_path / "published.th"
    torch.save(stock.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    codec = load_codec(path, sha256=digest)
    assert (codec.sample_rate, codec.frame_rate, codec.n_codebooks, codec.sha256) == (24_000, 75, 8, digest)
    stock.set_target_bandwidth(6.0)
    wave = noise(8_000)
    with torch.inference_mode():
        [(codes, _)] = stock.encode(torch.from_numpy(wave)[None, None])
    # Folding the weight norm rounds otherwise, so a code that was nearly a tie may fall to the other side.
    assert np.mean(codec.encode([wave])[0] != codes[0].numpy()) < 0.01
