"""`voxbeam show`: segments of a corpus, accepted and rejected, as cards, and their sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from voxbeam.commands.command import VoxbeamCommand, json_option
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.output_files import require_outside

if TYPE_CHECKING:
    import pyarrow as pa

    from voxbeam.corpus import Corpus


@click.command(
    cls=VoxbeamCommand,
    short_help="Show segments of a corpus, and play them.",
    examples=[
        "voxbeam show /data/corpus kennedy-inaugural_address_1961-ask_not",
        "voxbeam show /data/corpus --reason low_snr --play",
        "voxbeam show /data/corpus KEY --wav sample.wav",
        'voxbeam show s3://corpora/x --sql "SELECT key FROM segments WHERE snr_db BETWEEN 9 AND 11"',
    ],
)
@click.argument("output")
@click.argument("name", required=False)
@click.option("--reason", metavar="CODE", help="Segments that were rejected for a reason, e.g. low_snr.")
@click.option("--sql", metavar="QUERY", help="Segments whose `key` a query returns; other answers are printed as a table.")
@click.option("--limit", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Segments to show at most.")
@click.option("--release", type=int, metavar="NUMBER", help="Release to read.  [default: the latest]")
@click.option(
    "--wav",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the sound of the segments, one after the other.",
)
@click.option("--play", is_flag=True, help="Play the segments.")
@click.option("--source", is_flag=True, help="Cut accepted segments from their recordings too, instead of decoding their codes.")
@click.option("--codec-name", metavar="NAME", help="Decode the codes of this further codec.  [default: the first]")
@json_option
def show(
    output: str,
    name: str | None,
    reason: str | None,
    sql: str | None,
    limit: int,
    release: int | None,
    wav: Path | None,
    play: bool,
    source: bool,
    codec_name: str | None,
    as_json: bool,
) -> int:
    """Show segments of the corpus OUTPUT: text, scores, reasons and what to do about them.

    NAME is the key of a segment, or a recording. The sound of an accepted segment is decoded from its codes; that of a rejected
    one is cut from its recording, which must be where it was listed. The tables of --sql are samples, rejected, recordings,
    shards, voices, identities, and segments, which is samples and rejected together (docs/audit.md).
    """
    if sum(choice is not None for choice in (name, reason, sql)) != 1:
        raise click.UsageError("give a key or a recording, or one of --reason and --sql")

    if wav is not None:
        require_outside(wav, output)
    if source and codec_name is not None:
        raise click.UsageError("--source cuts the recording, in which no codec is heard: leave out --codec-name")

    from voxbeam.commands import terminal
    from voxbeam.commands.segment_cards import print_card
    from voxbeam.corpus import Corpus

    corpus, console = Corpus(output, release, codec_name=codec_name), terminal.results(as_json)
    if sql is not None and "key" not in (answer := corpus.sql(sql)).column_names:
        if wav or play:
            raise click.UsageError("--wav and --play need a query that returns a column `key`")
        _print_answer(answer, limit, as_json)
        return DONE
    found = corpus.find(name, reason=reason, sql=sql, limit=limit + 1)
    more, found = len(found) > limit, found[:limit]
    for segment in found:
        print_card(segment, console)
    if not found:
        console.print(_why_none(corpus, name))
    if more:
        console.print(f"There are more: these are the first {limit}; --limit shows more")
    if wav is not None and found:
        _write_wav(corpus, found, wav, source)
        console.print(f"Sound: {wav}")
    if play and found:
        _play(corpus, found, source)
    if as_json:
        terminal.print_json({"segments": found, "rows": None, "wav": str(wav) if wav and found else None})
    return DONE


def _why_none(corpus: Corpus, recording: str | None) -> str:
    """Why nothing is shown of a recording that is in the release; or, without one, of the keys that a query returns."""
    from voxbeam.commands import terminal

    if recording is None:
        return "No segment: the query returns no key of this release"
    rows = corpus.recordings(["recording", "status", "stage", "reason", "error", "remedy"])
    row = next(row for batch in rows for row in batch.to_pylist() if row["recording"] == recording)
    told = f": {row['reason']}, {row['error']}. Remedy: {row['remedy']}" if row["reason"] else ""
    return terminal.printable(f"No segment: the recording is {row['status']}{told}")


def _print_answer(answer: pa.Table, limit: int, as_json: bool) -> None:
    """The answer of a query that returns no keys."""
    from voxbeam.commands import terminal

    rows = answer.slice(0, limit).to_pylist()
    if as_json:
        plain = [{name: _plain(value) for name, value in row.items()} for row in answer.to_pylist()]
        terminal.print_json({"segments": None, "rows": plain, "wav": None})
        return
    table = terminal.new_table(*answer.column_names)
    for row in rows:
        table.add_row(*(terminal.printable(f"{value:.4g}" if isinstance(value, float) else str(value)) for value in row.values()))
    more = f", the first {len(rows)} of {answer.num_rows}: --limit shows more" if answer.num_rows > len(rows) else ""
    terminal.print_table(terminal.stdout(), f"{answer.num_rows} rows{more}", table)


def _plain(value: Any) -> Any:
    """A value as JSON has it; bytes as hexadecimal digits."""
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | list | dict | None) else str(value)


def _write_wav(corpus: Corpus, found: list[dict[str, Any]], path: Path, source: bool) -> float:
    """Writes the segments' sound, with half a second of silence between two, as a WAV file at 24 kHz. Returns its seconds."""
    import numpy as np
    import soundfile as sf

    from voxbeam.schemas.formats import CODEC_RATE

    silence = np.zeros(CODEC_RATE // 2, np.float32)
    waves = [part for segment in found for part in (corpus.sound(segment, source=source), silence)]
    wave_S = np.concatenate(waves[:-1])
    with path.open("wb") as file:
        sf.write(file, wave_S, CODEC_RATE, format="WAV", subtype="PCM_16")
    return len(wave_S) / CODEC_RATE


def _play(corpus: Corpus, found: list[dict[str, Any]], source: bool) -> None:
    """Plays the segments with a program that is installed. Raises VoxbeamError, naming what is missing."""
    import tempfile

    from voxbeam.commands.play_sound import find_player, play_file

    player = find_player()  # before anything is decoded
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "segments.wav"
        play_file(player, path, _write_wav(corpus, found, path, source))
