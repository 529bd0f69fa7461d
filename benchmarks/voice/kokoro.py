"""Kokoro-82M (Apache-2.0) in torch: many sentences of many voices at once, from the weights of its int8 export.

Sentences of equal length in tokens share a batch up to their durations (`Kokoro.plan`), sentences of equal length in frames
share one from there on (`Kokoro.speak`), so nothing is padded and no layer needs a mask. The export is deterministic.

Shapes: B sentences, L tokens, T frames of 600 samples (40 a second), C channels, S samples at 24 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

RATE = 24_000
FRAME = 600
"""samples of a frame of the durations"""
HARMONICS = 9
VOICED_HZ = 10.0
RESBLOCKS = ((3, (1, 3, 5)), (7, (1, 3, 5)), (11, (1, 3, 5)))
"""kernel and dilations of the residual blocks of each scale"""


def dequantize(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    """Weights as float32 from arrays NAME.q, NAME.scale and NAME.zero; other arrays as they are."""
    weights: dict[str, Tensor] = {}
    for name, array in arrays.items():
        base, _, kind = name.rpartition(".")
        if kind in ("scale", "zero"):
            continue
        if kind != "q":
            weights[name] = torch.from_numpy(np.ascontiguousarray(array, np.float32))
            continue
        scale, zero = (np.atleast_1d(arrays[f"{base}.{part}"]).astype(np.float32) for part in ("scale", "zero"))
        shape = (-1,) + (1,) * (array.ndim - 1)
        weights[base] = torch.from_numpy((array.astype(np.float32) - zero.reshape(shape)) * scale.reshape(shape))
    return weights


def moved(pitch_B1T: Tensor, ratio_B11: Tensor, range_B11: Tensor) -> Tensor:
    """A pitch in Hz that is `ratio` times as high and moves `range` times as much around its geometric mean."""
    voiced = pitch_B1T > VOICED_HZ
    log = pitch_B1T.clamp(min=VOICED_HZ).log()
    mean = (log * voiced).sum(2, keepdim=True) / voiced.sum(2, keepdim=True).clamp(min=1)
    return torch.where(voiced, (mean + (log - mean) * range_B11).exp() * ratio_B11, pitch_B1T)


@dataclass(frozen=True)
class Planned:
    """Sentences up to their durations."""

    durations_BL: Tensor
    """frames of each token, at least 1; int64"""
    prosody_BLC: Tensor
    text_BLC: Tensor


def snake(x: Tensor, gain: Tensor, bias: Tensor, alpha: Tensor) -> Tensor:
    """The scaled and shifted x, plus sin² of it: Snake (Ziyin et al. 2020) after a normalization."""
    y = x * gain + bias
    return y + torch.sin(alpha * y).square() / alpha


class Kokoro(nn.Module):
    """The network. `half` computes the convolutions of the vocoder in bfloat16; `noise` is that of unvoiced sounds."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        device: str = "cpu",
        *,
        compiled: bool = False,
        half: bool = False,
        noise: bool = True,
    ) -> None:
        super().__init__()
        self.w = {name: value.to(device) for name, value in weights.items()}
        self.lstms = {
            name.removesuffix(".W"): self._lstm(name.removesuffix(".W")).to(device) for name in weights if name.endswith(".W")
        }
        self.device, self.noise = device, noise
        self.type = torch.bfloat16 if half else torch.float32
        self.wh = {
            name: value.to(self.type)
            for name, value in self.w.items()
            if name.startswith("decoder.generator.") and value.ndim == 3
        }
        self.wh |= {
            name: self.w[name].to(self.type) for name in self.w if name.startswith("decoder.generator.") and name.endswith("bias")
        }
        self.snake: Callable[..., Tensor] = torch.compile(snake, dynamic=True) if compiled else snake

    def _lstm(self, name: str) -> nn.LSTM:
        W, R, B = (self.w[f"{name}.{part}"].cpu() for part in "WRB")
        hidden = R.shape[1]
        lstm = nn.LSTM(W.shape[1], hidden, bidirectional=True, batch_first=True)
        order = [0, 2, 3, 1]  # ONNX has the gates input, output, forget, cell

        def gates(x: Tensor) -> Tensor:
            return torch.cat([x[part * hidden : (part + 1) * hidden] for part in order])

        with torch.no_grad():
            for direction, suffix in enumerate(("", "_reverse")):
                getattr(lstm, f"weight_ih_l0{suffix}").copy_(gates(W[direction].T))
                getattr(lstm, f"weight_hh_l0{suffix}").copy_(gates(R[direction].T))
                getattr(lstm, f"bias_ih_l0{suffix}").copy_(gates(B[direction][: 4 * hidden]))
                getattr(lstm, f"bias_hh_l0{suffix}").copy_(gates(B[direction][4 * hidden :]))
        return lstm.eval()

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def conv(self, x: Tensor, name: str, *, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv1d(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"), stride, padding)

    def norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    # --- sentences to durations

    @torch.inference_mode()
    def plan(self, tokens_BL: Tensor, style_BC: Tensor, speed_B: Tensor) -> Planned:
        """Durations of sentences of equal length, and what `speak` needs of them."""
        bert_BLC = self.linear(self.bert(tokens_BL), "bert_encoder")
        style_B1C = style_BC[:, None, 128:]
        style_BLC = style_B1C.expand(-1, tokens_BL.shape[1], -1)
        x_BLC = torch.cat([bert_BLC, style_BLC], 2)
        for index in (0, 2, 4):
            y_BLC, _ = self.lstms[f"predictor.text_encoder.lstms.{index}"](x_BLC)
            gain, bias = self.linear(style_B1C, f"predictor.text_encoder.lstms.{index + 1}.fc").chunk(2, 2)
            y_BLC = F.layer_norm(y_BLC, y_BLC.shape[-1:]) * (1 + gain) + bias
            x_BLC = torch.cat([y_BLC, style_BLC], 2)
        h_BLC, _ = self.lstms["predictor.lstm"](x_BLC)
        duration_BL = self.linear(h_BLC, "predictor.duration_proj.linear_layer").sigmoid().sum(2) / speed_B[:, None]
        return Planned(duration_BL.round().clamp(min=1).long(), x_BLC, self.text(tokens_BL))

    def bert(self, tokens_BL: Tensor) -> Tensor:
        w, L = self.w, tokens_BL.shape[1]
        x = (
            w["bert.word_embeddings.weight"][tokens_BL]
            + w["bert.position_embeddings.weight"][:L]
            + w["bert.token_type_embeddings.weight"][0]
        )
        x = self.linear(self.norm(x, "bert.LayerNorm", 1e-12), "bert.embedding_hidden_mapping_in")
        for _ in range(12):
            q, k, v = (
                self.linear(x, f"bert.attention.{part}").unflatten(2, (12, 64)).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            x = self.norm(x + self.linear(a, "bert.attention.dense"), "bert.attention.LayerNorm", 1e-12)
            y = F.gelu(self.linear(x, "bert.ffn"), approximate="tanh")
            x = self.norm(x + self.linear(y, "bert.ffn_output"), "bert.full_layer_layer_norm", 1e-12)
        return x

    def text(self, tokens_BL: Tensor) -> Tensor:
        x_BCL = self.w["text.embedding.weight"][tokens_BL].transpose(1, 2)
        for index in range(3):
            y_BLC = self.conv(x_BCL, f"text.cnn.{index}.cnn.{index}.0", padding=2).transpose(1, 2)
            y_BLC = F.layer_norm(y_BLC, y_BLC.shape[-1:], self.w[f"text.cnn.{index}.gamma"], self.w[f"text.cnn.{index}.beta"])
            x_BCL = F.leaky_relu(y_BLC, 0.2).transpose(1, 2)
        return self.lstms["text.lstm"](x_BCL.transpose(1, 2))[0]

    # --- durations to sound

    @torch.inference_mode()
    def speak(
        self, prosody_BTC: Tensor, text_BTC: Tensor, style_BC: Tensor, melody: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Sound [B, S] of sentences whose features were repeated to frames (S = 600 T).

        `melody`: factors [B] of the pitch, and of its movement around its mean.
        """
        h_BCT = self.lstms["predictor.shared"](prosody_BTC)[0].transpose(1, 2)
        manner, timbre = style_BC[:, 128:], style_BC[:, :128]
        curves = []
        for name in ("F0", "N"):
            x = h_BCT
            for index in range(3):
                x = self.residual(x, f"predictor.{name}.{index}", manner, upsample=index == 1)
            curves.append(self.conv(x, f"predictor.{name}_proj"))
        pitch_B1T, energy_B1T = curves
        if melody is not None:
            pitch_B1T = moved(pitch_B1T, *(factor_B[:, None, None] for factor_B in melody))
        text_BCT = text_BTC.transpose(1, 2)
        pitch, energy = (
            self.conv(x, f"decoder.{n}_conv", stride=2, padding=1) for n, x in (("F0", pitch_B1T), ("N", energy_B1T))
        )
        x = self.residual(torch.cat([text_BCT, pitch, energy], 1), "decoder.encode", timbre)
        text_res = self.conv(text_BCT, "decoder.asr_res.asr_res.0")
        for index in range(4):
            x = self.residual(torch.cat([x, text_res, pitch, energy], 1), f"decoder.decode.{index}", timbre, upsample=index == 3)
        return self.vocode(x, timbre, pitch_B1T[:, 0])

    def adain(self, x: Tensor, name: str, style: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and bias of the normalization over time that a style modulates."""
        gain, bias = self.linear(style, f"{name}.fc")[..., None].chunk(2, 1)
        variance, mean = torch.var_mean(x.float(), 2, correction=0, keepdim=True)
        gain = (1 + gain) * torch.rsqrt(variance + 1e-5)
        return gain, bias - mean * gain

    def residual(self, x: Tensor, name: str, style: Tensor, upsample: bool = False) -> Tensor:
        shortcut = x.repeat_interleave(2, 2) if upsample else x
        if f"{name}.conv1x1.weight" in self.w:
            shortcut = self.conv(shortcut, f"{name}.conv1x1")
        gain, bias = self.adain(x, f"{name}.norm1", style)
        y = F.leaky_relu(x * gain + bias, 0.2)
        if upsample:
            weight, offset = self.w[f"{name}.pool.weight"], self.w[f"{name}.pool.bias"]
            y = F.conv_transpose1d(y, weight, offset, 2, 1, 1, groups=y.shape[1])
        y = self.conv(y, f"{name}.conv1", padding=1)
        gain, bias = self.adain(y, f"{name}.norm2", style)
        y = self.conv(F.leaky_relu(y * gain + bias, 0.2), f"{name}.conv2", padding=1)
        return (y + shortcut) / math.sqrt(2)

    def resblock(self, x: Tensor, name: str, style: Tensor, kernel: int, dilations: tuple[int, ...]) -> Tensor:
        for index, dilation in enumerate(dilations):
            y = x
            for part, step in ((1, dilation), (2, 1)):
                gain, bias = self.adain(y, f"{name}.adain{part}.{index}", style)
                y = self.snake(y, gain, bias, self.w[f"{name}.alpha{part}.{index}"]).to(self.type)
                conv = f"{name}.convs{part}.{index}"
                y = F.conv1d(y, self.wh[f"{conv}.weight"], self.wh[f"{conv}.bias"], 1, step * (kernel // 2), step)
            x = x + y
        return x

    def vocode(self, x: Tensor, style: Tensor, pitch_BT: Tensor) -> Tensor:
        g, w = "decoder.generator", self.wh
        source_BCT = self.source(pitch_BT).to(self.type)
        x = x.to(self.type)
        for scale, (stride, noise) in enumerate(((10, (6, 3, 7)), (6, (1, 0, 11)))):
            x = F.leaky_relu(x, 0.1)
            s = F.conv1d(source_BCT, w[f"{g}.noise_convs.{scale}.weight"], w[f"{g}.noise_convs.{scale}.bias"], noise[0], noise[1])
            s = self.resblock(s, f"{g}.noise_res.{scale}", style, noise[2], (1, 3, 5))
            x = F.conv_transpose1d(x, w[f"{g}.ups.{scale}.weight"], w[f"{g}.ups.{scale}.bias"], stride, stride // 2)
            if scale == 1:
                x = F.pad(x, (1, 0), "reflect")
            x = x + s
            blocks = [
                self.resblock(x, f"{g}.resblocks.{3 * scale + index}", style, kernel, dilations)
                for index, (kernel, dilations) in enumerate(RESBLOCKS)
            ]
            x = (blocks[0] + blocks[1] + blocks[2]) / 3
        x = F.conv1d(F.leaky_relu(x, 0.01), w[f"{g}.conv_post.weight"], w[f"{g}.conv_post.bias"], 1, 3).float()
        magnitude, phase = x[:, :11].exp(), x[:, 11:].sin()
        spectrum = torch.cat([magnitude * phase.cos(), magnitude * phase.sin()], 1)
        wave = F.conv_transpose1d(spectrum, self.w[f"{g}.istft.stft.weight"], None, 5)[:, 0]
        # only the edges have another sum of windows than 1.5, and they are cut off up to half of one
        return 4 * wave[:, 10:-10] / self.window_sum(wave.shape[1])[10:-10]

    def window_sum(self, size: int) -> Tensor:
        """What the export divides by: it corrects the first samples only."""
        total = torch.ones(size, device=self.device)
        known = self.w["decoder.window_sum"]
        total[: len(known)] = torch.where(known > 1e-30, known, 1.0)
        return total

    def source(self, pitch_BT: Tensor) -> Tensor:
        """Magnitudes and phases [B, 22, T] of the harmonics of a pitch in Hz, 80 values a second."""
        harmonics = torch.arange(1, HARMONICS + 1, device=pitch_BT.device)[:, None]
        cycles_BHT = (pitch_BT[:, None] * harmonics / RATE) % 1
        phase_BHT = cycles_BHT.cumsum(2) * 2 * math.pi * 300
        phase_BHS = F.interpolate(phase_BHT, scale_factor=300, mode="linear")
        voiced_B1S = (pitch_BT > VOICED_HZ).float().repeat_interleave(300, 1)[:, None]
        sines_BHS = 0.1 * phase_BHS.sin() * voiced_B1S
        if self.noise:  # as the model was trained; its export has none
            sines_BHS = sines_BHS + torch.randn_like(sines_BHS) * torch.where(voiced_B1S > 0, 0.003, 0.1 / 3)
        source_BS = torch.tanh((sines_BHS * self.w["decoder.source.weight"]).sum(1) + self.w["decoder.source.bias"])
        frames = F.pad(source_BS[:, None], (10, 10), "reflect")[:, 0].unfold(1, 20, 5)
        spectrum = torch.fft.rfft(frames * self.w["decoder.window"])
        re, im = spectrum.real, spectrum.imag
        angle = torch.atan(im / re)
        angle = torch.where(re < 0, torch.where(im > 0, angle + math.pi, angle - math.pi), angle).nan_to_num(0.0)
        return torch.cat([spectrum.abs(), angle], 2).transpose(1, 2)


def expand(planned: list[tuple[Tensor, Tensor]], durations: list[NDArray[np.int64]], frames: int) -> tuple[Tensor, Tensor]:
    """Features repeated to `frames` frames, the last token's longer if needed: [B, T, C] each, for `Kokoro.speak`."""
    device = planned[0][0].device
    rows = [np.repeat(np.arange(len(d)), [*d[:-1], d[-1] + frames - d.sum()]) for d in durations]
    index_BT = torch.from_numpy(np.stack(rows)).to(device)
    prosody = torch.stack([features[index] for (features, _), index in zip(planned, index_BT, strict=True)])
    text = torch.stack([features[index] for (_, features), index in zip(planned, index_BT, strict=True)])
    return prosody, text
