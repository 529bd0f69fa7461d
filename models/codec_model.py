"""The codec as a network: an encoder, a residual vector quantizer and a decoder (EnCodec, arXiv 2210.13438, section 3).

Encoder and decoder are frame layers (`vocos_layers.py`), as in the embedded codec, or SEANet, as in the published 24 kHz
model (`encodec_adapter.py`, which needs an optional package).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn

from voxbeam.models.encodec_adapter import seanet_layers
from voxbeam.models.quantizer import ResidualVectorQuantizer
from voxbeam.models.vocos_layers import FrameDecoder, FrameEncoder
from voxbeam.schemas.formats import CODEBOOK_SIZE, CODEC_HOP, N_CODEBOOKS


@dataclass(frozen=True)
class CodecConfig:
    """The layers and sizes of one codec. The defaults are those of the published 24 kHz model (paper, section 3.1)."""

    layers: str = "seanet"  # EnCodec's own, at 24 kHz; or "frame", see `voxbeam.models.vocos_layers`
    n_filters: int = 32  # channels at 24 kHz; they double at each of the four strides
    n_residual_layers: int = 1
    lstm_layers: int = 2  # 0 leaves the LSTM out
    ratios: tuple[int, ...] = (8, 5, 4, 2)  # strides in the decoder's order; their product is CODEC_HOP
    encoder_width: int = 192  # channels of the frame layers
    encoder_blocks: int = 3
    decoder_width: int = 256
    decoder_blocks: int = 5
    dimension: int = 128  # D
    n_codebooks: int = N_CODEBOOKS
    codebook_size: int = CODEBOOK_SIZE

    def __post_init__(self) -> None:
        if self.layers not in ("seanet", "frame"):
            raise ValueError(f"layers {self.layers!r} are neither 'seanet' nor 'frame'")
        if math.prod(self.ratios) != CODEC_HOP:
            raise ValueError(f"ratios {self.ratios} must multiply to {CODEC_HOP}: the frame rate is fixed at 75 Hz")


class CodecModel(nn.Module):
    """The three parts of a codec, under the parameter names of the published checkpoint.

    The encoder maps waveforms [B, 1, S] to latents [B, D, T], the decoder latents to waveforms [B, 1, 320 T].
    """

    def __init__(self, encoder: nn.Module, quantizer: ResidualVectorQuantizer, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoder = decoder


def build_codec(config: CodecConfig) -> CodecModel:
    """The untrained model: mono, no loudness normalization. Raises ModelError for SEANet layers without their package."""
    encoder, decoder = _frame_layers(config) if config.layers == "frame" else _seanet_layers(config)
    quantizer = ResidualVectorQuantizer(config.dimension, config.n_codebooks, config.codebook_size)
    return CodecModel(encoder, quantizer, decoder)


def _frame_layers(config: CodecConfig) -> tuple[nn.Module, nn.Module]:
    encoder = FrameEncoder(config.dimension, config.encoder_width, config.encoder_blocks)
    return encoder, FrameDecoder(config.dimension, config.decoder_width, config.decoder_blocks)


def _seanet_layers(config: CodecConfig) -> tuple[nn.Module, nn.Module]:
    return seanet_layers(
        dimension=config.dimension,
        n_filters=config.n_filters,
        n_residual_layers=config.n_residual_layers,
        lstm_layers=config.lstm_layers,
        ratios=config.ratios,
    )


def fold_weight_norm(model: nn.Module) -> None:
    """Replaces each pair (weight_g, weight_v) by the weight that it stands for: the same function, faster."""
    for module in model.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)
