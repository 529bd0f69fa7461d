"""Codec: seconds of speech per second to codes and back, with EnCodec's full 24 kHz layers and with the embedded codec.

EnCodec has random weights of the published sizes. Speed does not depend on them, but what a precision does to codes does: read
that from the embedded codec. The product's own path, `Codec`, is measured too: it is the rate of a build.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voxbeam.models.codec import EMBEDDED_WEIGHTS, Codec, load_codec
from voxbeam.models.codec_model import CodecConfig, CodecModel, build_codec, fold_weight_norm
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import CODEBOOK_SIZE, CODEC_RATE

from benchmarks.gpu_parts.measure import Bench, Measured
from benchmarks.gpu_parts.results import Scalar
from benchmarks.gpu_parts.speech import load_speech

PRECISIONS = ("fp32", "tf32", "bf16")
WEIGHTS = {"encodec": "random, of the published sizes", "embedded": "embedded"}
Direction = Callable[[CodecModel, Tensor, bool], Tensor]
"""`encode` or `decode`: the model, its input, and whether to use bf16"""


def measure(bench: Bench) -> None:
    seconds = 0.5 if bench.dry_run else 10.0
    batches = (2,) if bench.dry_run else (32, 1, 8, 128)
    wave_S, source = load_speech(seconds * max(batches))
    codecs = open_codecs(bench)
    for name, codec in codecs.items():
        notes: dict[str, Scalar] = {"weights": WEIGHTS[name], "input": source}
        bench.measure("product encode", {"codec": name}, partial(product_encode, bench, codec, wave_S, notes))
        bench.measure("product decode", {"codec": name}, partial(product_decode, bench, codec, seconds, notes))
    x_B1S = torch.from_numpy(np.resize(wave_S, (max(batches), 1, round(seconds * CODEC_RATE)))).to(bench.device)
    main_batch, *others = batches
    directions: dict[str, Direction] = {"encode": encode, "decode": decode}
    # the most important measurements come first: the part may be stopped before the rest
    first = [(direction, main_batch, precision, False) for direction in directions for precision in PRECISIONS]
    more = [(direction, batch, precision, False) for direction in directions for precision in PRECISIONS for batch in others]
    compiled = [(direction, main_batch, precision, True) for precision in ("bf16", "fp32") for direction in directions]
    half = len(more) // 2
    for direction, batch, precision, compiling in first + more[:half] + compiled[:1] + more[half:] + compiled[1:]:
        if compiling and bench.dry_run:
            why = "not in a dry run: compiling takes longer than everything else on a CPU"
            bench.skip(direction, why, {"precision": precision, "compile": True})
            continue
        for name, codec in codecs.items():
            measure_direction(bench, direction, directions[direction], name, codec.model, x_B1S[:batch], precision, compiling)


def open_codecs(bench: Bench) -> dict[str, Codec]:
    """Both codecs, or the embedded one and a row that says what EnCodec's layers need."""
    codecs = {}
    try:
        codecs["encodec"] = Codec(random_encodec(), "", str(bench.device))
    except ModelError as error:
        bench.skip("encodec", f"needs the package encodec: {error}")
    codecs["embedded"] = load_codec(EMBEDDED_WEIGHTS, device=str(bench.device))
    return codecs


def measure_direction(
    bench: Bench,
    direction: str,
    function: Direction,
    name: str,
    model: CodecModel,
    x_B1S: Tensor,
    precision: str,
    compiled: bool,
) -> None:
    """One row: × real time, and what the precision changes against fp32."""
    batch, length_s = len(x_B1S), x_B1S.shape[2] / CODEC_RATE
    settings: dict[str, Scalar] = {
        "codec": name,
        "batch": batch,
        "seconds": length_s,
        "precision": precision,
        "compile": compiled,
    }

    @torch.inference_mode()
    def run() -> Measured:
        if compiled:
            torch.compiler.reset()
        set_tf32(False)
        inputs = x_B1S if direction == "encode" else encode(model, x_B1S, False)
        reference = function(model, inputs, False)
        set_tf32(precision == "tf32")
        bf16 = precision == "bf16"
        timed = torch.compile(function, dynamic=False) if compiled else function
        result = timed(model, inputs, bf16)
        took_s = bench.time(lambda: timed(model, inputs, bf16), min_s=0.4, warm_ups=1)
        extra: dict[str, Scalar] = {"weights": WEIGHTS[name]}
        return Measured(batch * length_s / took_s, "× real time", extra | difference(direction, reference, result))

    bench.measure(direction, settings, run)


def encode(model: CodecModel, x_B1S: Tensor, bf16: bool) -> Tensor:
    """Codes [K, B, T]. The search for the nearest codes stays in single precision."""
    with torch.autocast(x_B1S.device.type, torch.bfloat16, enabled=bf16):
        z_BDT = model.encoder(x_B1S)
    return model.quantizer.encode(z_BDT.float())


def decode(model: CodecModel, codes_KBT: Tensor, bf16: bool) -> Tensor:
    """Waveforms [B, 1, S]."""
    z_BDT = model.quantizer.decode(codes_KBT)
    with torch.autocast(z_BDT.device.type, torch.bfloat16, enabled=bf16):
        return model.decoder(z_BDT).float()


def difference(direction: str, reference: Tensor, result: Tensor) -> dict[str, Scalar]:
    """Of codes, the fraction that differs, in all codebooks and in the first; of waveforms, the signal-to-noise ratio in dB."""
    if direction == "encode":
        changed_KBT = (reference != result).float()
        return {"codes_changed": float(changed_KBT.mean()), "codes_changed_first_codebook": float(changed_KBT[0].mean())}
    noise = float((reference - result).square().mean())
    power = float(reference.square().mean())
    return {"snr_db": 10 * float(np.log10(power / noise)) if noise and power else None}


def set_tf32(allowed: bool) -> None:
    """For matrix products, convolutions and LSTMs. By default torch, and so the product, allows it for the latter two."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def product_encode(bench: Bench, codec: Codec, wave_S: NDArray[np.float32], notes: dict[str, Scalar]) -> Measured:
    """`Codec.encode` as the stage calls it: samples of many lengths in host memory, to codes in host memory."""
    rng = np.random.default_rng(0)
    lengths_s = rng.uniform(1, 2, 3) if bench.dry_run else rng.uniform(2, 20, 110)
    waves = [np.ascontiguousarray(np.resize(wave_S, round(length_s * CODEC_RATE))) for length_s in lengths_s]
    took_s = bench.time(lambda: codec.encode(waves), warm_ups=1)
    return Measured(float(lengths_s.sum()) / took_s, "× real time", notes | {"samples": len(waves)})


def product_decode(bench: Bench, codec: Codec, seconds: float, notes: dict[str, Scalar]) -> Measured:
    """`Codec.decode` of one utterance, as in synthesis."""
    frames = round(seconds * codec.frame_rate)
    codes_KT = np.random.default_rng(0).integers(0, CODEBOOK_SIZE, (codec.n_codebooks, frames), dtype=np.int16)
    took_s = bench.time(lambda: codec.decode([codes_KT]), warm_ups=1)
    return Measured(seconds / took_s, "× real time", notes | {"samples": 1})


def random_encodec() -> CodecModel:
    """The published architecture with random weights, and weight norm folded in as after loading."""
    torch.manual_seed(0)
    model = build_codec(CodecConfig())
    fold_weight_norm(model)
    return model
