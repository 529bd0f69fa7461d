"""Rates: from the results of a run to the file that `voxbeam plan --device cuda` and docs/projection.md read."""

from __future__ import annotations

from pathlib import Path

from voxbeam.pipeline.gpu_rates import GpuRates, Rate

from benchmarks.gpu_parts.results import Results, ResultsError, Row


def commit_rates(results: Path, target: Path) -> None:
    """Writes the rates of a results file. Raises ResultsError for a dry run or a CPU, or if no stage was measured."""
    target.write_text(rates_of(Results.from_json(results.read_text())).to_json())


def rates_of(results: Results) -> GpuRates:
    """× real time of the stages that were measured."""
    header = results.header
    if header.dry_run:
        raise ResultsError("these are the results of a dry run, with tiny sizes on a CPU: run it on a GPU without --dry-run")
    if header.card == "cpu":
        raise ResultsError("these results were measured without a GPU: run it where torch finds one")
    found = {"diarize": _diarize(results.rows), "transcribe": _transcribe(results.rows), "tokenize": _tokenize(results.rows)}
    rates = {stage: rate for stage, rate in found.items() if rate is not None}
    if not rates:
        raise ResultsError("no stage of a build was measured: run the parts diarize, transcribe and codec")
    return GpuRates(card=header.card, date=header.date, torch=header.torch, commit=header.commit, rates=rates)


def _diarize(rows: list[Row]) -> Rate | None:
    return _best(rows, "diarize", "window", {}, "embedded networks, whole windows, including clustering on the CPU")


def _transcribe(rows: list[Row]) -> Rate | None:
    what = "Whisper large-v3's sizes, random weights, openai-whisper: a lower bound"
    return _best(rows, "transcribe", "windows", {"model": "large-v3"}, what)


def _tokenize(rows: list[Row]) -> Rate | None:
    what = "EnCodec's 24 kHz sizes, random weights, single precision"
    return _best(rows, "codec", "product encode", {"codec": "encodec"}, what)


def _best(rows: list[Row], part: str, name: str, settings: dict[str, str], what: str) -> Rate | None:
    """The fastest of the rows with these settings, and what it was measured on."""
    matching = [row for row in rows if (row.part, row.name) == (part, name) and row.value is not None]
    matching = [row for row in matching if all(row.settings.get(key) == value for key, value in settings.items())]
    if not matching:
        return None
    best = max(matching, key=lambda row: row.value or 0.0)
    assert best.value is not None
    batch = f"; batches of {best.settings['batch']}" if "batch" in best.settings else ""
    return Rate(times_real_time=best.value, measured_on=what + batch)
