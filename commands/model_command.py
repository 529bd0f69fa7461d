"""What the commands that train models, or make speech with them, have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voxbeam.commands.command import VoxbeamCommand
from voxbeam.schemas.errors import VoxbeamError

if TYPE_CHECKING:
    from voxbeam.models.codec import Codec

F = TypeVar("F", bound=Callable[..., Any])

CODEC_HELP = "Codec of the corpus, as tokenize.codec names it."
CODEC_NAME_HELP = "Further codec of CORPUS, by its name in `codecs`, whose codes are read."


class ModelCommand(VoxbeamCommand):
    """A command whose library raises ValueError for input that it cannot use."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VoxbeamError:
            raise
        except ValueError as error:
            logging.getLogger(__name__).debug("traceback", exc_info=True)
            raise VoxbeamError(str(error)) from error


def model_options(command: F) -> F:
    """Options of every command that makes speech."""
    for option in (
        click.option(
            "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Device of the models."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sampling."),
        click.option("--codec", default="embedded", show_default=True, metavar="NAME", help=CODEC_HELP),
        click.option(
            "--recognizer",
            default="embedded",
            show_default=True,
            metavar="NAME",
            help="faster-whisper model that transcribes, by path or name.",
        ),
    ):
        command = option(command)
    return command


def open_codec(name: str, device: str) -> Codec:
    """The codec of that name. Raises ModelError when there is none."""
    from voxbeam.models.codec import load_codec
    from voxbeam.models.codec_weights import codec_weights

    path, sha256 = codec_weights(name)
    return load_codec(path, sha256=sha256, device=device)


def pin_threads_on_cpu(device: str) -> None:
    """One thread for each library: these models are too small to gain from more. Raises UsageError for a GPU that is absent."""
    from voxbeam.models.threads import pin_threads

    if device == "cpu":
        pin_threads()
        return
    import torch

    if not torch.cuda.is_available():
        raise click.UsageError("--device cuda, but torch sees no GPU here; use --device cpu, or install torch for this GPU")
