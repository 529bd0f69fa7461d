"""The voices of a server: the one that ships, those of a folder, and prompts that clients sent, which stay in memory only.

Every use of a voice asks the consent gate; a voice without consent is listed with the reason, and speaks nothing.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile as sf

from voxbeam.assets import PROMPT, PROMPT_TEXT
from voxbeam.safety.gate import Permit
from voxbeam.safety.sounds import sound_hash
from voxbeam.schemas.errors import ConsentError, SynthesisError
from voxbeam.schemas.formats import SOUND_ENDINGS
from voxbeam.synthesis.prompt import Prompt
from voxbeam.synthesis.synthesizer import Synthesizer

_ENDINGS = (*SOUND_ENDINGS, ".mp3", ".opus")
MAX_NAMED = 64
"""voices of a folder"""
MAX_SENT = 8
"""prompts of clients that are kept; the one that was used least recently goes first"""
MAX_PROMPT_BYTES = 16 << 20
MAX_CHANNELS, MAX_RATE = 8, 192_000


@dataclass(frozen=True)
class SentVoice:
    """A prompt that a client sent, and may use."""

    name: str
    seconds: float
    permit: Permit
    warnings: tuple[str, ...]
    """what about it costs words"""


def read_folder(folder: Path, seconds: float) -> dict[str, Prompt]:
    """The prompts of a folder by name: `anna.wav` is anna, and `anna.txt`, if it is there, what she says.

    Raises SynthesisError for a folder without sounds, with too many, with two of one name, or with one that cannot be read.
    """
    if not folder.is_dir():
        raise SynthesisError(f"there is no folder {folder}", remedy="name a folder with one sound per voice")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS and path.is_file())
    if not 0 < len(paths) <= MAX_NAMED:
        raise SynthesisError(
            f"{folder} has {len(paths)} sounds ({', '.join(_ENDINGS)})", remedy=f"a folder of voices has 1 to {MAX_NAMED}"
        )
    prompts: dict[str, Prompt] = {}
    for path in paths:
        if path.stem in prompts or path.stem == PROMPT.stem:
            raise SynthesisError(f"{path}: there is another voice {path.stem}", remedy="give each voice a name of its own")
        text = path.with_suffix(".txt")
        prompts[path.stem] = Prompt.read(path, text.read_text(encoding="utf-8").strip() if text.is_file() else None, seconds)
    return prompts


class Voices:
    """The voices of one model; `first` has the model, the gate and the sampling. Safe for several threads."""

    def __init__(self, first: Synthesizer, named: dict[str, Prompt], seconds: float) -> None:
        shipped = {PROMPT.stem: Prompt.read(PROMPT, PROMPT_TEXT)}
        self._named = {name: first.in_voice_of(prompt) for name, prompt in (shipped | named).items()}
        self._sent: OrderedDict[str, Synthesizer] = OrderedDict()
        self._first, self._seconds = first, seconds
        self._lock = threading.Lock()

    def get(self, name: str) -> Synthesizer | None:
        """A voice by its name or id; None if there is none, or no longer."""
        with self._lock:
            if name in self._sent:
                self._sent.move_to_end(name)
            return self._named.get(name) or self._sent.get(name)

    @property
    def names(self) -> list[str]:
        """Of the voices that were not sent by clients."""
        return list(self._named)

    def describe(self) -> list[dict[str, Any]]:
        """Every voice of a name: whether it may be used now, and why not."""
        return [_describe(name, voice) for name, voice in self._named.items()]

    def add(self, content: bytes, text: str | None) -> SentVoice:
        """Keeps a sound file of a client as a prompt. Raises SynthesisError if it is none, ConsentError if nobody allowed it."""
        _require_plain(content)
        prompt = Prompt.read(io.BytesIO(content), text, self._seconds)
        voice = self._first.in_voice_of(prompt)
        permit = voice.require_consent()
        name = f"prompt-{sound_hash(prompt.wave_S)[:16]}"
        with self._lock:
            self._sent[name] = voice
            self._sent.move_to_end(name)
            while len(self._sent) > MAX_SENT:
                self._sent.popitem(last=False)
        return SentVoice(name, len(prompt.wave_S) / voice.codec.sample_rate, permit, prompt.warnings)


def _require_plain(content: bytes) -> None:
    """Raises SynthesisError for a sound that takes far more memory than its file."""
    try:
        info = sf.info(io.BytesIO(content))
    except (OSError, sf.LibsndfileError) as error:
        raise SynthesisError(f"cannot read the sound ({error})", remedy="send a WAV, FLAC, OGG or MP3 file") from error
    if info.channels > MAX_CHANNELS or info.samplerate > MAX_RATE:
        raise SynthesisError(
            f"the sound has {info.channels} channels at {info.samplerate} Hz",
            remedy=f"send one of at most {MAX_CHANNELS} channels and {MAX_RATE} Hz",
        )


def _describe(name: str, voice: Synthesizer) -> dict[str, Any]:
    try:
        allowed, reason = True, voice.require_consent().basis
    except ConsentError as error:
        allowed, reason = False, str(error)
    return {
        "id": name,
        "object": "voice",
        "name": name,
        "allowed": allowed,
        "reason": reason,
        "warnings": voice.prompt.warnings,
    }
