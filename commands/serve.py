"""`voxbeam serve`: an HTTP endpoint that speaks, with a page."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import click

from voxbeam.commands.exit_status import DONE
from voxbeam.commands.model_command import ModelCommand, model_options, pin_threads_on_cpu
from voxbeam.commands.voice_options import (
    best_of_option,
    consent_options,
    open_gate,
    open_voice,
    prompt_seconds_option,
    sampling_options,
)

PORT = 8017


@click.command(
    cls=ModelCommand,
    short_help="Speak texts for clients of OpenAI's speech route, and on a page.",
    examples=[
        "voxbeam serve",
        "voxbeam serve runs/first --voices voices --best-of 3",
    ],
)
@click.argument("run", default="embedded")
@click.option(
    "--voices",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with one recording per voice: anna.wav is the voice anna, and anna.txt, if it is there, what she says.",
)
@prompt_seconds_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on; another needs --key."
)
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port; 0 is a free one.")
@click.option(
    "--key", envvar="VOXBEAM_SERVE_KEY", metavar="TEXT", help="Key that clients must send.  [default: $VOXBEAM_SERVE_KEY]"
)
@best_of_option
@click.option("--waiting", type=click.IntRange(0), default=8, show_default=True, metavar="N", help="Requests that may wait.")
@consent_options
@sampling_options
@model_options
def serve(
    run: str,
    voices: Path | None,
    prompt_seconds: float,
    host: str,
    port: int,
    key: str | None,
    best_of: int,
    waiting: int,
    ledger: str | None,
    purpose: str,
    seed: int,
    **models: Any,
) -> int:
    """Speak texts for clients of OpenAI's speech route (POST /v1/audio/speech), and on a page, until Ctrl-C.

    Whose voice it is must have allowed it, as for `voxbeam generate`; every sound has the watermark. Recordings that a client or
    the page sends are kept in memory, the last eight of them. One request is spoken at a time.

    RUN is what `voxbeam train --out` wrote, or a folder with two of them: ar and nar. Without it, the voice that ships with
    voxbeam speaks English. docs/serve.md has the routes and their errors.
    """
    from voxbeam.assets import PROMPT, PROMPT_TEXT
    from voxbeam.commands import terminal
    from voxbeam.serving.local_http import is_loopback
    from voxbeam.serving.speech_server import ServerConfig, SpeechServer
    from voxbeam.serving.voices import Voices, read_folder
    from voxbeam.synthesis.prompt import Prompt
    from voxbeam.trainer.signals import handling_signals

    if key is None and not is_loopback(host):
        raise click.UsageError(f"--host {host} is open to other machines, so it needs --key")
    pin_threads_on_cpu(models["device"])
    named = read_folder(voices, prompt_seconds) if voices is not None else {}
    progress = terminal.stderr()
    first = open_voice(run, Prompt.read(PROMPT, PROMPT_TEXT), open_gate(ledger, purpose), **models)
    name = Path(run.rstrip("/")).name.removesuffix(".safetensors")
    config = ServerConfig(model=name, candidates=best_of, seed=seed, waiting=waiting, prompt_seconds=prompt_seconds, key=key)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        if ended.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        ended.set()

    with handling_signals(end):
        server = SpeechServer(Voices(first, named, prompt_seconds), config, host=host, port=port, on_event=progress.print)
        try:
            for voice in server.voices.describe():
                progress.print(f"{voice['id']}: {'' if voice['allowed'] else 'refused: '}{voice['reason']}")
                for warning in voice["warnings"]:
                    progress.print(f"{voice['id']}: warning: {warning}")
            terminal.stdout().print(f"Page: {server.address}")
            terminal.stdout().print(f"Endpoint: {server.address}v1, model {name}; Ctrl-C ends it")
            while not ended.wait(0.5):
                pass
            if count := len(server.turns):
                progress.print(f"Requests that are ended: {count}")
        finally:
            server.close()
    return DONE
