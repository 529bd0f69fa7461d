"""`voxbeam evaluate`: what is measured, of models and of corpora."""

from __future__ import annotations

import click

from voxbeam.commands.command import VoxbeamGroup

WHAT = {
    "corpus": "voxbeam.commands.evaluate_corpus:corpus",
    "duplicates": "voxbeam.commands.evaluate_leak:duplicates",
    "leak": "voxbeam.commands.evaluate_leak:leak",
    "model": "voxbeam.commands.evaluate_model:model",
}


@click.group(cls=VoxbeamGroup, lazy=WHAT, short_help="Measure a corpus against references, or a model.")
def evaluate() -> None:
    """Measurements: of a built corpus against references, and of a model on utterances of a corpus."""
