"""`voxbeam export`: a trained model as one small file."""

from __future__ import annotations

from pathlib import Path

import click

from voxbeam.commands.exit_status import DONE
from voxbeam.commands.model_command import ModelCommand


@click.command(
    cls=ModelCommand,
    short_help="Write a trained model as one file.",
    examples=["voxbeam export runs/first --out voice.safetensors --card card.md"],
)
@click.argument("run")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write, .safetensors.")
@click.option(
    "--card",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Text that goes with it: data, license, limits.",
)
def export(run: str, out: Path, card: Path | None) -> int:
    """Write the averaged weights of RUN in bf16, with sizes, phones and the codec's hash.

    The checkpoint with the lowest validation loss is taken, or the last one of a run without validation. The file takes
    the place of RUN in `voxbeam generate`, `edit` and `evaluate`, and in `voxbeam train --init-from`.
    """
    if out.suffix != ".safetensors":
        raise click.UsageError(f"--out {out} does not end in .safetensors")

    from voxbeam.models.load_valle import export_models

    facts = export_models(run, out, card=card.read_text() if card else "")
    click.echo(f"{out}: weights of step {facts['step']}, {out.stat().st_size / 1e6:.1f} MB")
    return DONE
