"""A request for speech, as OpenAI's `POST /v1/audio/speech` has it, and what is wrong with one.

Fields that this server could only ignore are refused: a client hears what it asked for, or why not.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.schemas.formats import CODEC_RATE
from voxbeam.storage.bounded_json import parse_object
from voxbeam.synthesis.script import MAX_SEED

MAX_INPUT = 4096
"""characters of a text, as at OpenAI"""
MAX_BODY = 64 << 10
_FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III", "audio/mpeg"),
    "opus": ("OGG", "OPUS", "audio/ogg"),
    "flac": ("FLAC", "PCM_16", "audio/flac"),
    "wav": ("WAV", "PCM_16", "audio/wav"),
    "pcm": ("RAW", "PCM_16", "audio/pcm"),
}
FORMATS = tuple(name for name, (container, subtype, _) in _FORMATS.items() if sf.check_format(container, subtype))
"""of the sound, as far as this libsndfile writes them; `pcm` is 24 kHz, 16 bits, little-endian, mono"""
_KEYS = ("model", "input", "voice", "response_format", "speed", "stream_format", "instructions", "seed", "partial")


class RequestError(Exception):
    """Why a request is not answered: its HTTP status, a sentence, the field at fault if any, and a code for programs."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def document(self) -> dict[str, Any]:
        """The error as OpenAI's clients read it."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class SpeechRequest:
    """A text to speak."""

    text: str
    voice: str
    format: str
    seed: int
    partial: bool
    """wants the sound even if a sentence of it did not succeed"""


def parse_request(content: bytes, model: str, seed: int) -> SpeechRequest:
    """The request in a JSON body, to a server of one model; `seed` is that of a request without one. Raises RequestError."""
    try:
        fields = parse_object(content, MAX_BODY, unique=True)
    except ValueError as error:
        raise RequestError(400, f"the body is no JSON object: {error}") from error
    if unknown := sorted(fields.keys() - set(_KEYS)):
        raise RequestError(400, f"unknown field {unknown[0]!r}; the fields are {', '.join(_KEYS)}", unknown[0])
    asked = _text(fields, "model")
    if asked != model:
        raise RequestError(404, f"there is no model {asked!r}; this server has {model!r}", "model", "model_not_found")
    text = _text(fields, "input")
    if len(text) > MAX_INPUT:
        raise RequestError(400, f"input has {len(text)} characters; the limit is {MAX_INPUT}: send parts of it", "input")
    format = "mp3" if (named := fields.get("response_format")) is None else named
    if format not in FORMATS:
        raise RequestError(
            400,
            f"response_format is {format!r}; this server writes {', '.join(FORMATS)}",
            "response_format",
            "unsupported_format",
        )
    speed = fields.get("speed")
    if speed is not None and (type(speed) not in (int, float) or speed != 1):
        raise RequestError(
            400, f"speed is {speed!r}: the model speaks at the rate of the voice; leave speed out, or change the sound", "speed"
        )
    if fields.get("instructions"):
        raise RequestError(400, "the model follows no instructions; choose another voice instead", "instructions")
    if fields.get("stream_format") not in (None, "audio"):
        raise RequestError(400, "stream_format is audio: the sound comes as a whole", "stream_format")
    chosen = fields.get("seed", seed)
    if type(chosen) is not int or not 0 <= chosen <= MAX_SEED:
        raise RequestError(400, f"seed is a whole number from 0 to {MAX_SEED}, not {chosen!r}", "seed")
    partial = fields.get("partial", False)
    if type(partial) is not bool:
        raise RequestError(400, "partial is true or false", "partial")
    return SpeechRequest(text, _voice(fields), format, chosen, partial)


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(400, f"{name} is missing: it is a text that is not empty", name)
    return value


def _voice(fields: dict[str, Any]) -> str:
    """The name of a voice, or its id as clients send that of a voice that they made."""
    voice = fields.get("voice")
    return _text(voice, "id") if isinstance(voice, dict) else _text(fields, "voice")


def encode(wave_S: NDArray[Any], format: str) -> tuple[bytes, str]:
    """A sound [S] at 24 kHz in one of `FORMATS`, and its media type."""
    container, subtype, kind = _FORMATS[format]
    if subtype == "PCM_16":  # rounded here, since libsndfile rounds in another way for each container
        wave_S = np.clip(np.round(wave_S * 32768), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    sf.write(file, wave_S, CODEC_RATE, format=container, subtype=subtype, endian="LITTLE" if format == "pcm" else None)
    return file.getvalue(), kind
