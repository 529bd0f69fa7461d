"""Moonshine base for English (Jeffries et al., arXiv 2410.15608): a recognizer of another family than Whisper, on ONNX Runtime.

Its weights come from the package `moonshine-cpp`, of which only these files are used: no code of it is imported.
Shapes: S samples at 16 kHz.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voxbeam.models.pinned import MOONSHINE_SHA256, require_pinned
from voxbeam.schemas.errors import ModelError
from voxbeam.schemas.formats import ASR_RATE

_FILES = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
_BEGIN, _END = 1, 2
_HEADS, _HEAD_WIDTH = 8, 52
_TOKENS_PER_SECOND = 6.5
"""at most, as in the package: what speaks faster is a loop"""


def moonshine_files() -> tuple[Path, ...]:
    """Encoder, decoder and tokenizer in the package. Raises ModelError without it."""
    spec = find_spec("moonshine_cpp")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "transcribe.second is 'moonshine', and the package moonshine-cpp is not installed",
            remedy="install voxbeam[moonshine] (Linux on x86-64 only), or set transcribe.second to 'embedded' or null",
        )
    folder = Path(spec.submodule_search_locations[0]) / "models" / "base-en"
    return tuple(folder / name for name in _FILES)


class Moonshine:
    """The model on the CPU, on one thread. Raises ModelError without its package, or if its files are not the published ones."""

    def __init__(self) -> None:
        encoder, decoder, tokenizer = contents = [path.read_bytes() for path in moonshine_files()]
        require_pinned(hashlib.sha256(b"".join(contents)).hexdigest(), MOONSHINE_SHA256, "the weights of Moonshine")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]) for content in (encoder, decoder)
        )
        self._tokens = _read_tokens(tokenizer)
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        self._past = [node.name for node in self._decoder.get_inputs() if node.name.startswith("past_key_values")]

    def transcribe(self, wave_S: NDArray[np.float32]) -> str:
        """The greedy transcript of English speech of at most 30 s."""
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        (encoded,) = self._encoder.run(None, {"input_values": wave_S[None]})
        empty = np.zeros((1, _HEADS, 0, _HEAD_WIDTH), np.float32)
        state = {"encoder_hidden_states": value(encoded), **{name: value(empty) for name in self._past}}
        # Keys and values of the encoder's output are computed by the first step, and stay.
        wanted, tokens = self._outputs, [_BEGIN]
        while len(tokens) <= 1 + len(wave_S) / ASR_RATE * _TOKENS_PER_SECOND:
            step = {"input_ids": value(np.array([tokens[-1:]], np.int64)), "use_cache_branch": value(np.array([len(tokens) > 1]))}
            logits, *present = self._decoder.run_with_ort_values(wanted, {**state, **step})
            state |= {name.replace("present", "past_key_values"): key for name, key in zip(wanted[1:], present, strict=True)}
            wanted = [name for name in self._outputs if ".encoder." not in name]
            tokens.append(int(logits.numpy()[0, -1].argmax()))
            if tokens[-1] == _END:
                break
        text = b"".join(self._tokens[token] for token in tokens[1:] if token != _END)
        return text.decode("utf-8", "replace").replace("▁", " ").strip()


def _read_tokens(content: bytes) -> list[bytes]:
    """The tokens of a tokenizer file: each its length, in one byte or in two of seven bits, and its bytes."""
    tokens: list[bytes] = []
    at = 0
    while at < len(content):
        length, at = content[at], at + 1
        if length >= 128:
            length, at = length - 128 + 128 * content[at], at + 1
        token, at = content[at : at + length], at + length
        is_byte = len(token) == 6 and token.startswith(b"<0x")  # e.g. <0xE2>, a byte of a rare character
        tokens.append(bytes([int(token[3:5], 16)]) if is_byte else token)
    return tokens
