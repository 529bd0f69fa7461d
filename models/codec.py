"""EnCodec (Défossez et al. 2022, arXiv 2210.13438): 24 kHz mono speech to and from 8 codes per frame, 75 frames a second.

The model and its quantizer are those of the `encodec` package; its layers are SEANet, as in the published 24 kHz model, or
those of `vocos_layers`, as in the one trained by `trainer/codec/train.py` that ships in `assets/weights`. All take the same path
through this file.

Shapes: B batch, S samples at 24 kHz, T frames of 320 samples (T = ceil(S / 320)), K codebooks, D latent dimension.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encodec import EncodecModel
from encodec.modules import SEANetDecoder, SEANetEncoder
from encodec.quantization import ResidualVectorQuantizer
from torch import Tensor, nn

from voxbeam.assets import WEIGHTS
from voxbeam.models.oom import in_batches
from voxbeam.models.vocos_layers import HOP, SAMPLE_RATE, FrameDecoder, FrameEncoder
from voxbeam.storage.safetensors_io import pack, unpack

N_CODEBOOKS = 8  # 8 books of 10 bits, 75 times a second: 6 kbps
ENCODEC_24KHZ_FILE = "encodec_24khz-d7cc33bc.th"
ENCODEC_24KHZ_SHA256 = "d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf"
EMBEDDED_WEIGHTS = WEIGHTS / "codec_24khz.safetensors"
# What only training reads of a codebook: its moving averages. Exported files leave them out.
_TRAINING_BUFFERS = ("embed_avg", "cluster_size", "inited")


@dataclass(frozen=True)
class CodecConfig:
    """The layers and sizes of one codec. The defaults are those of the published 24 kHz model (paper, section 3.1)."""

    layers: str = "seanet"  # EnCodec's own, at 24 kHz; or "frame", see `voxbeam.models.vocos_layers`
    n_filters: int = 32  # channels at 24 kHz; they double at each of the four strides
    n_residual_layers: int = 1
    lstm_layers: int = 2  # 0 leaves the LSTM out
    ratios: tuple[int, ...] = (8, 5, 4, 2)  # strides in the decoder's order; their product is HOP
    encoder_width: int = 192  # channels of the frame layers
    encoder_blocks: int = 3
    decoder_width: int = 256
    decoder_blocks: int = 5
    dimension: int = 128  # D
    n_codebooks: int = N_CODEBOOKS
    codebook_size: int = 1024

    def __post_init__(self) -> None:
        if self.layers not in ("seanet", "frame"):
            raise ValueError(f"layers {self.layers!r} are neither 'seanet' nor 'frame'")
        if math.prod(self.ratios) != HOP:
            raise ValueError(f"ratios {self.ratios} must multiply to {HOP}: the frame rate is fixed at 75 Hz")


def build_codec(config: CodecConfig) -> EncodecModel:
    """The untrained model: mono, no loudness normalisation."""
    encoder, decoder = _frame_layers(config) if config.layers == "frame" else _seanet_layers(config)
    quantizer = ResidualVectorQuantizer(
        dimension=config.dimension, n_q=config.n_codebooks, bins=config.codebook_size, kmeans_init=False
    )
    kbps = config.n_codebooks * math.log2(config.codebook_size) * (SAMPLE_RATE / HOP) / 1000
    return EncodecModel(encoder, decoder, quantizer, [kbps], SAMPLE_RATE, channels=1, normalize=False)


def _frame_layers(config: CodecConfig) -> tuple[nn.Module, nn.Module]:
    encoder = FrameEncoder(config.dimension, config.encoder_width, config.encoder_blocks)
    return encoder, FrameDecoder(config.dimension, config.decoder_width, config.decoder_blocks)


def _seanet_layers(config: CodecConfig) -> tuple[nn.Module, nn.Module]:
    """Causal and weight-normalised (section 3.1, 3.2)."""
    sizes: dict[str, Any] = {
        "channels": 1,
        "dimension": config.dimension,
        "n_filters": config.n_filters,
        "n_residual_layers": config.n_residual_layers,
        "ratios": list(config.ratios),
        "lstm": config.lstm_layers,
        "norm": "weight_norm",
        "causal": True,
    }
    with warnings.catch_warnings():
        # The package uses the older of torch's two weight norms, whose names the published file has.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*weight_norm.*")
        return SEANetEncoder(**sizes), SEANetDecoder(**sizes)


def export_codec(model: EncodecModel, config: CodecConfig, path: Path, notes: dict[str, str]) -> str:
    """Writes weights (as float16) and sizes as safetensors; gives back the file's sha256."""
    tensors = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if not name.endswith(_TRAINING_BUFFERS)
    }
    content = pack(tensors, "codec", {"config": asdict(config), "notes": notes})
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def load_codec(path: Path, *, sha256: str | None = None, device: str = "cpu") -> Codec:
    """Reads a codec: a `.safetensors` file of ours, or the published 24 kHz checkpoint (a torch state dict).

    `sha256`, when given, must be the file's; one of the published file's name must be the published file. Raises
    ValueError, naming the remedy, when it is not, or when the file is cut short or holds something else.
    """
    path = Path(path)
    if sha256 is None and path.name == ENCODEC_24KHZ_FILE:
        sha256 = ENCODEC_24KHZ_SHA256
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ValueError(
            f"{path} has sha256 {found}, not {sha256}: the file is another one or its copy was cut short; "
            "fetch it again, or configure the sha256 of the file that you mean to use"
        )
    try:
        config, state = _parse_safetensors(content) if path.suffix == ".safetensors" else _parse_checkpoint(content)
        model = build_codec(config)
        missing, unexpected = model.load_state_dict(state, strict=False)
        wrong = [name for name in missing if not name.endswith(_TRAINING_BUFFERS)] + list(unexpected)
        if wrong:
            raise ValueError(f"its layers are not an EnCodec's: {wrong[0]} and {len(wrong) - 1} more")
    except Exception as error:  # whatever a parser raises on bytes that are not a model, the remedy is the same
        raise ValueError(
            f"{path} is not a codec that can be read ({type(error).__name__}: {error}); give a .safetensors file "
            f"written by `python -m trainer codec export`, or a whole copy of {ENCODEC_24KHZ_FILE} "
            f"(sha256 {ENCODEC_24KHZ_SHA256})"
        ) from error
    fold_weight_norm(model)
    return Codec(model, found, device)


def _parse_safetensors(content: bytes) -> tuple[CodecConfig, dict[str, Tensor]]:
    tensors, facts = unpack(content, "codec")
    fields = facts["config"]
    return CodecConfig(**fields | {"ratios": tuple(fields["ratios"])}), {name: t.float() for name, t in tensors.items()}


def _parse_checkpoint(content: bytes) -> tuple[CodecConfig, dict[str, Tensor]]:
    """The published model has 32 codebooks (24 kbps); residual books are nested, so the first 8 are the 6 kbps model."""
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    beyond = tuple(f"quantizer.vq.layers.{book}." for book in range(N_CODEBOOKS, 32))
    return CodecConfig(), {name: value for name, value in state.items() if not name.startswith(beyond)}


def fold_weight_norm(model: EncodecModel) -> None:
    """Turns each pair (weight_g, weight_v) into the weight that it stands for: the same function, faster."""
    for module in model.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)


class Codec:
    """A loaded codec: waveforms to codes and back, by the list.

    On a CPU, waveforms go one at a time: codes then do not depend on what else is in the list, and it is faster than a
    padded batch. They do depend on torch's thread count (rounding), so pin it where codes must repeat. On a GPU, they
    go in zero-padded batches of like lengths. With SEANet that may change the last code of a waveform whose length is
    not a multiple of 320 samples; with frame layers it changes no code but, in sound decoded from a padded batch, the
    last frames that the decoder's blocks reach (3 a block, and the window).
    """

    sample_rate = SAMPLE_RATE
    frame_rate = SAMPLE_RATE // HOP

    def __init__(self, model: EncodecModel, sha256: str, device: str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.sha256 = sha256
        self.device = torch.device(device)
        self.n_codebooks = int(model.quantizer.n_q)
        self.lookahead: int = getattr(model.decoder, "reach", 0)
        """frames that must be there before the sound of a frame is final; none for SEANet, which is causal"""

    @property
    def books_KVC(self) -> Tensor:
        """The vectors that the codes stand for, [K, codes of a book, C]: a frame of sound is the sum of its codes' vectors."""
        return torch.stack([layer.codebook.detach() for layer in self.model.quantizer.vq.layers[: self.n_codebooks]])

    @torch.inference_mode()
    def encode(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Waveforms, float32 [S] at 24 kHz in -1..1, to codes, int16 [K, T] with T = ceil(S / 320).

        Raises ValueError for anything but finite one-dimensional float32.
        """
        for index, wave_S in enumerate(waveforms):
            if wave_S.ndim != 1 or wave_S.dtype != np.float32 or not np.isfinite(wave_S).all():
                raise ValueError(
                    f"waveform {index} is {wave_S.dtype} of shape {wave_S.shape}: give mono 24 kHz as finite float32 [S]"
                )
        codes: list[np.ndarray] = [np.zeros((self.n_codebooks, 0), np.int16)] * len(waveforms)
        for batch in self._batches([len(wave_S) for wave_S in waveforms], HOP):
            x_BS = _stack([waveforms[index] for index in batch])
            for index, codes_KT in zip(batch, in_batches(self._encode, x_BS, len(batch)), strict=True):
                codes[index] = codes_KT[:, : math.ceil(len(waveforms[index]) / HOP)].copy()
        return codes

    def _encode(self, x_BS: np.ndarray) -> list[np.ndarray]:
        z_BDT = self.model.encoder(torch.from_numpy(x_BS).to(self.device)[:, None])
        codes_KBT = self.model.quantizer.vq.encode(z_BDT).to("cpu", torch.int16).numpy()
        return list(codes_KBT.swapaxes(0, 1))

    @torch.inference_mode()
    def decode(self, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes, integers [K, T], to waveforms, float32 [320 T] at 24 kHz. The first few books alone decode too, coarser.

        Raises ValueError for another shape, or for a code that is not in its book.
        """
        size = self.model.quantizer.bins
        for index, codes_KT in enumerate(codes):
            books_fit = codes_KT.ndim == 2 and 1 <= len(codes_KT) <= self.n_codebooks and len(codes_KT) == len(codes[0])
            if not books_fit or (codes_KT.size and not 0 <= codes_KT.min() <= codes_KT.max() < size):
                raise ValueError(f"codes {index} have shape {codes_KT.shape}: give [{self.n_codebooks}, T] of 0..{size - 1}")
        waves = [np.zeros(0, np.float32)] * len(codes)
        for batch in self._batches([codes_KT.shape[1] for codes_KT in codes], 1):
            codes_BKT = _stack([codes[index] for index in batch]).astype(np.int64)
            for index, y_S in zip(batch, in_batches(self._decode, codes_BKT, len(batch)), strict=True):
                waves[index] = y_S[: codes[index].shape[1] * HOP].copy()
        return waves

    def _decode(self, codes_BKT: np.ndarray) -> list[np.ndarray]:
        z_BDT = self.model.quantizer.vq.decode(torch.from_numpy(codes_BKT).to(self.device).transpose(0, 1))
        return list(self.model.decoder(z_BDT)[:, 0].cpu().numpy())

    def _batches(self, lengths: list[int], per_frame: int) -> Iterator[list[int]]:
        """Indices of what is not empty: one by one on a CPU, else shortest first, up to two padded minutes a batch."""
        budget = 0 if self.device.type == "cpu" else 120 * self.frame_rate * per_frame
        batch: list[int] = []
        for index in sorted((i for i, length in enumerate(lengths) if length), key=lambda i: lengths[i]):
            if batch and lengths[index] * (len(batch) + 1) > budget:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """Stacks along a new first axis, zero-padding the last."""
    longest = max(array.shape[-1] for array in arrays)
    return np.stack([np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, longest - a.shape[-1])]) for a in arrays])
