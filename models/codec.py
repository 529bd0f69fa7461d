"""EnCodec (Défossez et al. 2022, arXiv 2210.13438): 24 kHz mono speech to and from 8 codes per frame, 75 frames a second.

This module reads and writes codec files and runs a loaded codec. The embedded codec, trained by `trainer/codec/train.py`, and the
published 24 kHz model take the same path; the network is in `codec_model.py`.

Shapes: B batch, S samples at 24 kHz, T frames of 320 samples (T = ceil(S / 320)), K codebooks, D latent dimension.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from voxbeam.assets import WEIGHTS
from voxbeam.models.codec_model import CodecConfig, CodecModel, build_codec, fold_weight_norm
from voxbeam.models.oom import map_with_oom_backoff
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import CODEC_HOP, CODEC_RATE, N_CODEBOOKS
from voxbeam.storage.safetensors_io import pack, read_facts, unpack

ENCODEC_24KHZ_FILE = "encodec_24khz-d7cc33bc.th"
ENCODEC_24KHZ_SHA256 = "d7cc33bcf1aad7f2dad9836f36431530744abeace3ca033005e3290ed4fa47bf"
EMBEDDED_WEIGHTS = WEIGHTS / "codec_24khz.safetensors"
# moving averages of the codebooks, which only training reads: not exported
_TRAINING_BUFFERS = ("embed_avg", "cluster_size", "inited")


def export_codec(model: CodecModel, config: CodecConfig, path: Path, notes: dict[str, str]) -> str:
    """Writes weights (as float16) and sizes as safetensors. Returns the file's sha256."""
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

    If `sha256` is given, the file must have it; a file with the name of the published one must be the published one. Raises
    ModelError if the hash differs, the file is not a codec, or the package of its SEANet layers is not installed.
    """
    path = Path(path)
    if sha256 is None and path.name == ENCODEC_24KHZ_FILE:
        sha256 = ENCODEC_24KHZ_SHA256
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ModelError(
            f"{path} has sha256 {found}, not {sha256}: it is another file, or its copy was cut short",
            remedy="fetch it again, or configure the sha256 of the file that you mean to use",
        )
    try:
        config, state = _parse_safetensors(content) if path.suffix == ".safetensors" else _parse_checkpoint(content)
        model = build_codec(config)
        missing, unexpected = model.load_state_dict(state, strict=False)
        wrong = [name for name in missing if not name.endswith(_TRAINING_BUFFERS)] + list(unexpected)
        if wrong:
            raise ValueError(f"its layers are not an EnCodec's: {wrong[0]} and {len(wrong) - 1} more")
    except ModelError:  # the file is good, but the package of its layers is missing
        raise
    except Exception as error:  # parsers raise many types of errors; the remedy is the same
        raise _unreadable(path, error) from error
    fold_weight_norm(model)
    return Codec(model, found, device)


def codec_layers(path: Path) -> str:
    """The layers of the codec in a file, 'seanet' or 'frame', from its header. Raises ModelError for another file."""
    if path.suffix != ".safetensors":
        return CodecConfig().layers  # a torch checkpoint is the published model
    try:
        return str(read_facts(path, "codec")["config"].get("layers", CodecConfig().layers))
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} is not a codec that can be read ({type(error).__name__}: {error})",
        remedy="give a .safetensors file "
        f"written by `voxbeam codec export`, or a whole copy of {ENCODEC_24KHZ_FILE} "
        f"(sha256 {ENCODEC_24KHZ_SHA256})",
    )


def _parse_safetensors(content: bytes) -> tuple[CodecConfig, dict[str, Tensor]]:
    tensors, facts = unpack(content, "codec")
    fields = facts["config"]
    return CodecConfig(**fields | {"ratios": tuple(fields["ratios"])}), {name: t.float() for name, t in tensors.items()}


def _parse_checkpoint(content: bytes) -> tuple[CodecConfig, dict[str, Tensor]]:
    """The published model has 32 codebooks (24 kbit/s). Residual codebooks are nested: the first 8 are the 6 kbit/s model."""
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    beyond = tuple(f"quantizer.vq.layers.{book}." for book in range(N_CODEBOOKS, 32))
    return CodecConfig(), {name: value for name, value in state.items() if not name.startswith(beyond)}


class Codec:
    """A loaded codec: lists of waveforms to codes and back.

    On a CPU, waveforms are processed one at a time: codes then do not depend on the rest of the list, and it is faster than a
    padded batch. Codes depend on torch's thread count (rounding); pin it if they must be reproducible. On a GPU, waveforms are
    processed in zero-padded batches of similar lengths. With SEANet, padding may change the last code of a waveform whose length
    is not a multiple of 320 samples. With frame layers it changes no code, but the last `context_frames` frames of decoded audio.
    """

    sample_rate = CODEC_RATE
    frame_rate = CODEC_RATE // CODEC_HOP

    def __init__(self, model: CodecModel, sha256: str, device: str = "cpu") -> None:
        self.model = model.eval().to(device)
        self.sha256 = sha256
        self.device = torch.device(device)
        self.n_codebooks = model.quantizer.n_codebooks
        self.lookahead: int = getattr(model.decoder, "context_frames", 0)
        """frames after a frame that its audio depends on; 0 for SEANet, which is causal"""

    @property
    def codebooks_KVC(self) -> Tensor:
        """The vectors of the codes [K, V, C]; a latent frame is the sum of the vectors of its codes."""
        return torch.stack([book.embed for book in self.model.quantizer.codebooks])

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
        for batch in self._batches([len(wave_S) for wave_S in waveforms], CODEC_HOP):
            x_BS = _stack([waveforms[index] for index in batch])
            for index, codes_KT in zip(batch, map_with_oom_backoff(self._encode, x_BS, len(batch)), strict=True):
                codes[index] = codes_KT[:, : math.ceil(len(waveforms[index]) / CODEC_HOP)].copy()
        return codes

    def _encode(self, x_BS: np.ndarray) -> list[np.ndarray]:
        z_BDT = self.model.encoder(torch.from_numpy(x_BS).to(self.device)[:, None])
        codes_KBT = self.model.quantizer.encode(z_BDT).to("cpu", torch.int16).numpy()
        return list(codes_KBT.swapaxes(0, 1))

    @torch.inference_mode()
    def decode(self, codes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Codes, integers [K, T], to waveforms, float32 [320 T] at 24 kHz. The first few codebooks alone give coarser audio.

        Raises ValueError for another shape, or for a code outside the codebook.
        """
        size = self.model.quantizer.codebook_size
        for index, codes_KT in enumerate(codes):
            shape_fits = codes_KT.ndim == 2 and 1 <= len(codes_KT) <= self.n_codebooks and len(codes_KT) == len(codes[0])
            if not shape_fits or (codes_KT.size and not 0 <= codes_KT.min() <= codes_KT.max() < size):
                raise ValueError(f"codes {index} have shape {codes_KT.shape}: give [{self.n_codebooks}, T] of 0..{size - 1}")
        waves = [np.zeros(0, np.float32)] * len(codes)
        for batch in self._batches([codes_KT.shape[1] for codes_KT in codes], 1):
            codes_BKT = _stack([codes[index] for index in batch]).astype(np.int64)
            for index, y_S in zip(batch, map_with_oom_backoff(self._decode, codes_BKT, len(batch)), strict=True):
                waves[index] = y_S[: codes[index].shape[1] * CODEC_HOP].copy()
        return waves

    def _decode(self, codes_BKT: np.ndarray) -> list[np.ndarray]:
        z_BDT = self.model.quantizer.decode(torch.from_numpy(codes_BKT).to(self.device).transpose(0, 1))
        return list(self.model.decoder(z_BDT)[:, 0].cpu().numpy())

    def _batches(self, lengths: list[int], per_frame: int) -> Iterator[list[int]]:
        """Indices of non-empty items: one per batch on a CPU, else shortest first, up to two minutes per batch with padding."""
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
