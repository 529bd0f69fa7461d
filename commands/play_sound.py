"""Plays a sound file with a program of this machine."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from voxbeam.schemas.errors import VoxbeamError

PLAYERS = (
    ("pw-play",),
    ("paplay",),
    ("afplay",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("play", "-q"),
)
"""programs that play a WAV file, with their options, in order of choice: PipeWire, PulseAudio, macOS, ALSA, FFmpeg, SoX"""


def find_player() -> tuple[str, ...]:
    """The first of PLAYERS that is installed. Raises VoxbeamError when none is."""
    for player in PLAYERS:
        if shutil.which(player[0]):
            return player
    raise VoxbeamError(
        f"no program that plays sound is installed here: none of {', '.join(player[0] for player in PLAYERS)}",
        remedy="install one, or write a file with --wav FILE and play it elsewhere",
    )


def play_file(player: tuple[str, ...], path: Path, seconds: float) -> None:
    """Plays a file of this length to its end. Raises VoxbeamError, with what the program says, when it cannot.

    Without a sound card, some programs end at once and say by their status that all is well.
    """
    started = time.monotonic()
    done = subprocess.run([*player, str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode or time.monotonic() - started < seconds / 2:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise VoxbeamError(
            f"{player[0]} cannot play: {said[-1][:300] if said else f'it ended at once, with exit status {done.returncode}'}",
            remedy="a machine without a sound card plays nothing: write a file with --wav FILE and play it elsewhere",
        )
