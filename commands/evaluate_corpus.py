"""`voxbeam evaluate corpus`: a built corpus against references."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxbeam.commands.command import Finite, json_option
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.model_command import ModelCommand, pin_threads_on_cpu
from voxbeam.commands.output_files import require_outside

if TYPE_CHECKING:
    from rich.console import Console

    from voxbeam.evaluation.corpus_errors import CorpusEvaluation

_SHARES = ("codec_similarity",)
"""figures that are no percentage"""


@click.command(
    cls=ModelCommand,
    short_help="Measure a built corpus against references.",
    examples=[
        "voxbeam evaluate corpus /data/corpus --truth truth.json",
        "voxbeam evaluate corpus /data/corpus --truth turns.rttm --truth words.ctm --out report",
        "voxbeam evaluate corpus /data/planted --truth truth.json --defects defects.jsonl --codec-samples 0",
    ],
)
@click.argument("output")
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="What is said by whom and when: .json, .rttm, .stm, .ctm or .TextGrid. Several files add to each other.",
)
@click.option(
    "--defects",
    type=click.Path(path_type=Path),
    help="Planted defects, JSON Lines of recording, kind, start_s, end_s: what became of each kind.",
)
@click.option("--release", type=click.IntRange(1), metavar="N", help="Release to measure.  [default: the latest]")
@click.option("--collar", type=Finite(0), default=0.25, show_default=True, help="Seconds around true edges not in DER.")
@click.option(
    "--codec-samples", type=click.IntRange(0), default=20, show_default=True, metavar="N", help="Samples to decode; 0: none."
)
@click.option("--codec-name", metavar="NAME", help="Further codec whose loss is measured.  [default: the first]")
@click.option(
    "--recognizer",
    default="embedded-base",
    show_default=True,
    metavar="NAME",
    help="Whisper model that hears what the codec lost.",
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for evaluation.json and two Parquet files.")
@json_option
def corpus(
    output: str,
    truth: tuple[Path, ...],
    defects: Path | None,
    release: int | None,
    collar: float,
    codec_samples: int,
    codec_name: str | None,
    recognizer: str,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure the release in OUTPUT against what is really said in its recordings.

    Speakers (DER), purity and kept speech need turns; word, character and phone errors a text of turns or words; cut words the
    times of words. The codec's loss needs the recordings. Intervals hold 95 % of a bootstrap over recordings. A recording is
    named by its identifier or by its file without the suffix.
    """
    from voxbeam.commands import terminal
    from voxbeam.corpus import Corpus
    from voxbeam.evaluation.corpus_errors import evaluate_corpus
    from voxbeam.evaluation.planted import read_defects
    from voxbeam.evaluation.truth import read_truth

    if out is not None:
        require_outside(out / "evaluation.json", output)
    pin_threads_on_cpu("cpu")
    result = evaluate_corpus(
        Corpus(output, release, codec_name=codec_name),
        read_truth(truth),
        defects=read_defects(defects) if defects else (),
        collar_s=collar,
        codec_samples=codec_samples,
        recognizer=recognizer,
    )
    if out is not None:
        result.write(out)
    console = terminal.results(as_json)
    _show(console, result)
    if out is not None:
        console.print(f"Written: {out / 'evaluation.json'}, measures.parquet, samples.parquet")
    if as_json:
        terminal.print_json(result.document())
    return DONE


def _show(console: Console, result: CorpusEvaluation) -> None:
    from voxbeam.commands import terminal

    document = result.document()
    table = terminal.new_table("", "", "95 %", "recordings", "what", left=("what",))
    for row in document["measures"]:
        if row["value"] is not None:
            interval = f"{_figure(row, 'low')} – {_figure(row, 'high')}" if row["low"] is not None else ""
            table.add_row(row["measure"], _figure(row, "value"), interval, str(row["recordings"]), row["about"])
    terminal.print_table(console, f"Release {result.release:06d}, {document['recordings']} recordings with a truth", table)
    for name, what in (
        ("without_truth", "recordings without a truth"),
        ("not_built", "names of the truth that were not built"),
        ("with_tracks", "recordings with a track for each channel, which are left out"),
        ("unread", "samples whose source cannot be read here"),
    ):
        if document[name]:
            console.print(f"{len(document[name])} {what}, e.g. {document[name][0]}")
    if result.kinds:
        kinds = terminal.new_table("defect", "planted", "kept out", "by name", "alarms", "of bad speech", "by name")
        for kind in document["kinds"]:
            recall, named = _percent(kind["recall"]), _percent(kind["recall_by_name"])
            bad, right = _percent(kind["precision"]), _percent(kind["precision_by_name"])
            kinds.add_row(kind["kind"], str(kind["planted"]), recall, named, str(kind["rejections"]), bad, right)
        terminal.print_table(console, "Planted defects", kinds)


def _figure(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.3f}" if row["measure"] in _SHARES else _percent(row[key])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
