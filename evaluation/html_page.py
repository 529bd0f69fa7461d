"""Writes an evaluation as table.json and as one HTML file with a player for every waveform."""

from __future__ import annotations

import base64
import html
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from voxbeam.evaluation.zero_shot import Evaluation
from voxbeam.safety.watermark import NO_EVENT, mark_sound
from voxbeam.schemas.formats import CODEC_RATE


def write_page(evaluation: Evaluation, folder: Path) -> None:
    """Writes table.json and index.html into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps([asdict(row) for row in evaluation.rows], indent=1) + "\n")
    (folder / "index.html").write_text(page(evaluation), encoding="utf-8")


def page(evaluation: Evaluation) -> str:
    """The HTML: the table, and below it a row per test case with a player for each of its waveforms.

    The model's have a watermark, which names no event: nobody is asked for the prompts of an evaluation.
    """
    head = "<tr><th>" + "<th>".join(name.replace("_", " ") for name in asdict(evaluation.rows[0])) + "</tr>"
    table = "".join("<tr>" + "".join(_cell(value) for value in asdict(row).values()) + "</tr>" for row in evaluation.rows)
    columns = "".join(f"<th>{html.escape(name)}" for name in evaluation.waves)
    waves = evaluation.waves | {"model": [mark_sound(wave_S, NO_EVENT) for wave_S in evaluation.waves["model"]]}
    by_case = zip(*waves.values(), strict=True)
    cases = "".join(
        f"<tr><td>{html.escape(case.text)}" + "".join(f"<td>{_player(wave)}" for wave in sounds) + "</tr>"
        for case, sounds in zip(evaluation.cases, by_case, strict=True)
    )
    return (
        "<!doctype html><meta charset=utf-8><title>Evaluation</title><style>body{font:16px sans-serif;margin:2em}"
        "td,th{padding:.3em .8em;text-align:left}</style>"
        f"<h1>Evaluation</h1><table>{head}{table}</table>"
        f"<h2>Listen</h2><table><tr><th>text{columns}</tr>{cases}</table>\n"
    )


def _cell(value: object) -> str:
    return f"<td>{value:.3f}" if isinstance(value, float) else f"<td>{html.escape(str(value))}"


def _player(wave_S: NDArray[np.float32]) -> str:
    sink = io.BytesIO()
    sf.write(sink, wave_S, CODEC_RATE, format="WAV", subtype="PCM_16")
    return f'<audio controls preload=none src="data:audio/wav;base64,{base64.b64encode(sink.getvalue()).decode()}"></audio>'
