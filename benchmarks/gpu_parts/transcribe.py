"""Transcribe: × real time of the `openai-whisper` engine at the sizes of large-v3 and turbo, with random weights.

Every window of 30 seconds counts as 30 seconds and gets a fixed number of tokens. Real segments are shorter, with fewer tokens,
and CTranslate2 is faster: the cost is an upper bound, the rate a lower bound.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.results import Scalar

WINDOW_S, WINDOW_FRAMES = 30.0, 3000
TOKENS = 60
BOUND = "an upper bound on the cost: random weights, whole windows, a fixed number of tokens, openai-whisper"
LARGE: dict[str, int] = {
    "n_mels": 128,
    "n_audio_ctx": 1500,
    "n_audio_state": 1280,
    "n_audio_head": 20,
    "n_audio_layer": 32,
    "n_vocab": 51866,
    "n_text_ctx": 448,
    "n_text_state": 1280,
    "n_text_head": 20,
}
SIZES = {"turbo": LARGE | {"n_text_layer": 4}, "large-v3": LARGE | {"n_text_layer": 32}}
TINY = LARGE | {
    "n_audio_state": 32,
    "n_audio_head": 2,
    "n_audio_layer": 1,
    "n_text_state": 32,
    "n_text_head": 2,
    "n_text_layer": 1,
}


def measure(bench: Bench) -> None:
    try:
        from whisper.model import ModelDimensions, Whisper
    except ImportError as error:
        bench.skip("windows", f"needs openai-whisper: {error.name or error} is missing; bring its wheel (docs/gpu.md)")
        return
    tokens = 3 if bench.dry_run else TOKENS
    for name, sizes in {"tiny": TINY}.items() if bench.dry_run else SIZES.items():
        with torch.device(bench.device):
            model = Whisper(ModelDimensions(**sizes)).eval()
        for batch in (1,) if bench.dry_run else (16, 64, 1):
            settings: dict[str, Scalar] = {"model": name, "batch": batch, "tokens": tokens}
            bench.measure("windows", settings, partial(windows, bench, model, batch, tokens))
        del model


@torch.no_grad()
def windows(bench: Bench, model: Any, batch: int, tokens: int) -> Measured:
    """A batch of windows: the encoder, then token by token with whisper's own cache."""
    # as in the product: the weights stay in single precision, and the layers convert them to the input's
    dtype = torch.float16 if bench.cuda else torch.float32
    mel = torch.randn(batch, model.dims.n_mels, WINDOW_FRAMES, device=bench.device, dtype=dtype)
    encoder_s = bench.time(lambda: model.encoder(mel), warm_ups=1)
    total_s = bench.time(lambda: transcribe(model, mel, tokens), warm_ups=1)
    notes: dict[str, Scalar] = {"encoder_fraction": encoder_s / total_s, "meaning": BOUND}
    return Measured(batch * WINDOW_S / total_s, "× real time", notes)


def transcribe(model: Any, mel: Tensor, tokens: int) -> Tensor:
    """A start token and the most likely tokens after it, [B, 1 + tokens], as in whisper's greedy decoder."""
    audio_features = model.encoder(mel)
    cache, hooks = model.install_kv_cache_hooks()
    tokens_BT = torch.zeros(len(mel), 1, dtype=torch.int64, device=mel.device)
    try:
        for _ in range(tokens):
            logits_B1V = model.decoder(tokens_BT[:, -1:], audio_features, kv_cache=cache)
            tokens_BT = torch.cat([tokens_BT, logits_B1V[:, -1].argmax(-1, keepdim=True)], dim=1)
    finally:
        for hook in hooks:
            hook.remove()
    return tokens_BT
