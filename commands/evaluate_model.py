"""`voxbeam evaluate model`: zero-shot speech of a model, measured."""

from __future__ import annotations

from pathlib import Path

import click

from voxbeam.commands.command import json_option
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.model_command import CODEC_NAME_HELP, ModelCommand, model_options, open_codec, pin_threads_on_cpu

Folder = click.Path(path_type=Path, file_okay=False)


@click.command(
    cls=ModelCommand,
    short_help="Measure a model on utterances of a corpus.",
    examples=["voxbeam evaluate model runs/first /data/corpus --split test --out report"],
)
@click.argument("run")
@click.argument("corpus")
@click.option(
    "--split",
    type=click.Choice(["train", "valid", "test"]),
    default="test",
    show_default=True,
    help="Split to take utterances from.",
)
@click.option("--count", type=click.IntRange(1), default=40, show_default=True, metavar="N", help="Utterances to speak.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for index.html and table.json."
)
@click.option("--codec-name", metavar="NAME", help=f"{CODEC_NAME_HELP} --codec has its weights.")
@click.option("--continual", is_flag=True, help="Prompt each utterance with its own first 3 s.")
@model_options
@json_option
def model(
    run: str,
    corpus: str,
    split: str,
    count: int,
    out: Path,
    codec_name: str | None,
    continual: bool,
    recognizer: str,
    codec: str,
    seed: int,
    device: str,
    as_json: bool,
) -> int:
    """Speak utterances of 4 to 10 s of CORPUS again with the model of RUN, and measure them.

    Each is prompted with another utterance of its speaker. Writes a table and a page with the sounds.
    RUN is what `voxbeam train --out` wrote, or a folder with two of them: ar and nar.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.documents import evaluate_document
    from voxbeam.evaluation.html_page import write_page
    from voxbeam.evaluation.zero_shot import evaluate as run_evaluation
    from voxbeam.models.speech_metrics import WhisperTranscriber
    from voxbeam.trainer.data.sampler import SamplerConfig
    from voxbeam.trainer.data.stream import Stream, StreamConfig

    pin_threads_on_cpu(device)
    # A few samples from anywhere in the corpus: each is a block of its own.
    stream = Stream(corpus, split=split, config=StreamConfig(sampler=SamplerConfig(block_samples=1)), codec=codec_name)
    result = run_evaluation(
        run,
        stream,
        open_codec(codec, device),
        WhisperTranscriber(recognizer, device),
        count,
        continual=continual,
        seed=seed,
        device=device,
    )
    write_page(result, out)
    table = terminal.new_table("", "WER", "similarity", "duration", "truncated", "RTF")
    for row in result.rows:
        values = (row.wer, row.speaker_similarity, row.duration_ratio, row.truncated_rate, row.real_time_factor)
        table.add_row(row.name, *(f"{value:.3f}" for value in values))
    console = terminal.results(as_json)
    terminal.print_table(console, f"{len(result.cases)} utterances", table)
    console.print(f"Listening page: {out / 'index.html'}")
    if as_json:
        terminal.print_json(evaluate_document(str(out), result))
    return DONE
