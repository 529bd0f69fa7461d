"""Converts a Whisper model from CTranslate2 to openai-whisper, which is differentiable.

Usage: python models/whisper_checkpoint.py MODEL.BIN CHECKPOINT.PT
"""

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.generic]

# type numbers of CTranslate2's binary format, version 6; bfloat16 has no numpy type and is not used by Whisper models
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_ctranslate2(path: Path) -> dict[str, Array]:
    """Variables of a CTranslate2 model.bin by name, aliases included."""
    data = path.read_bytes()
    at = 0

    def number(code: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{code}", data, at)
        at += struct.calcsize(code)
        return int(value)

    def text() -> str:
        nonlocal at
        length = number("H")
        at += length
        return data[at - length : at - 1].decode()

    version = number("I")
    if version != 6:
        raise ValueError(f"{path} has binary version {version}, not 6")
    text()  # name of the specification
    number("I")  # its revision
    variables: dict[str, Array] = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = _TYPES[number("B")]
        size = number("I")
        variables[name] = np.frombuffer(data, kind, size // np.dtype(kind).itemsize, at).reshape(shape)
        at += size
    for _ in range(number("I")):
        alias, name = text(), text()
        variables[alias] = variables[name]
    return variables


def to_openai(variables: dict[str, Array]) -> dict[str, Any]:
    """The checkpoint {'dims', 'model_state_dict'} of openai-whisper. Splits CTranslate2's fused query, key, value."""
    state: dict[str, torch.Tensor] = {}

    def tensor(name: str) -> torch.Tensor:
        array = variables[name].astype(np.float32)
        if f"{name}_scale" in variables:
            array = array / variables[f"{name}_scale"].astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
        return torch.from_numpy(array.copy())

    def norm(target: str, source: str) -> None:
        state[f"{target}.weight"], state[f"{target}.bias"] = tensor(f"{source}/gamma"), tensor(f"{source}/beta")

    def linear(source: str, *targets: str) -> None:
        parts = (tensor(f"{source}/weight").chunk(len(targets)), tensor(f"{source}/bias").chunk(len(targets)))
        for target, weight, bias in zip(targets, *parts, strict=True):
            state[f"{target}.weight"] = weight.clone()
            if not target.endswith(".key"):  # Whisper's keys have no bias
                state[f"{target}.bias"] = bias.clone()

    def layers(side: str) -> int:
        return len(
            {name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_") and "norm" not in name.split("/")[1]}
        )

    for conv in ("conv1", "conv2"):
        state[f"encoder.{conv}.weight"] = tensor(f"encoder/{conv}/weight")
        state[f"encoder.{conv}.bias"] = tensor(f"encoder/{conv}/bias")
    state["encoder.positional_embedding"] = tensor("encoder/position_encodings/encodings")
    state["decoder.positional_embedding"] = tensor("decoder/position_encodings/encodings")
    state["decoder.token_embedding.weight"] = tensor("decoder/embeddings/weight")
    norm("encoder.ln_post", "encoder/layer_norm")
    norm("decoder.ln", "decoder/layer_norm")
    for side in ("encoder", "decoder"):
        for i in range(layers(side)):
            block, layer = f"{side}.blocks.{i}", f"{side}/layer_{i}"
            norm(f"{block}.attn_ln", f"{layer}/self_attention/layer_norm")
            linear(f"{layer}/self_attention/linear_0", *(f"{block}.attn.{part}" for part in ("query", "key", "value")))
            linear(f"{layer}/self_attention/linear_1", f"{block}.attn.out")
            norm(f"{block}.mlp_ln", f"{layer}/ffn/layer_norm")
            linear(f"{layer}/ffn/linear_0", f"{block}.mlp.0")
            linear(f"{layer}/ffn/linear_1", f"{block}.mlp.2")
            if side == "decoder":
                norm(f"{block}.cross_attn_ln", f"{layer}/attention/layer_norm")
                linear(f"{layer}/attention/linear_0", f"{block}.cross_attn.query")
                linear(f"{layer}/attention/linear_1", f"{block}.cross_attn.key", f"{block}.cross_attn.value")
                linear(f"{layer}/attention/linear_2", f"{block}.cross_attn.out")
    width = state["encoder.conv1.weight"].shape[0]
    dims = {
        "n_mels": state["encoder.conv1.weight"].shape[1],
        "n_audio_ctx": state["encoder.positional_embedding"].shape[0],
        "n_audio_state": width,
        "n_audio_head": width // 64,
        "n_audio_layer": layers("encoder"),
        "n_vocab": state["decoder.token_embedding.weight"].shape[0],
        "n_text_ctx": state["decoder.positional_embedding"].shape[0],
        "n_text_state": width,
        "n_text_head": width // 64,
        "n_text_layer": layers("decoder"),
    }
    return {"dims": dims, "model_state_dict": state}


def convert(model: Path, checkpoint: Path) -> None:
    """Writes the openai-whisper checkpoint of a CTranslate2 model.bin."""
    torch.save(to_openai(read_ctranslate2(model)), checkpoint)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
