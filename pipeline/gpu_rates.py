"""GPU rates: how fast the stages of a build run on a GPU, from a committed file. There is none until a GPU has been measured.

`python benchmarks/gpu.py --commit` writes the file; `python -m voxbeam.pipeline.gpu_rates` then updates docs/projection.md.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from voxbeam.assets import GPU_RATES
from voxbeam.schemas.errors import VoxbeamError
from voxbeam.schemas.fingerprint import kind_of_stage

PROJECTION = Path("docs/projection.md")
BEGIN, END = "<!-- gpu rates, by `python -m voxbeam.pipeline.gpu_rates` -->\n", "<!-- end of gpu rates -->\n"
GPU_STAGES = ("diarize", "transcribe", "tokenize")
"""stages whose models run on a GPU; DNSMOS stays on the CPU unless onnxruntime's GPU package is installed"""
HOURS = 60_000


class GpuRatesError(VoxbeamError, ValueError):
    """A file of GPU rates that cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """How fast one stage is."""

    times_real_time: float
    measured_on: str
    """models and sizes"""


@dataclass(frozen=True, kw_only=True)
class GpuRates:
    """The rates of one card."""

    card: str
    date: str
    torch: str
    commit: str
    rates: dict[str, Rate]
    """by stage"""

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The rates that `to_json` wrote. Raises GpuRatesError for any other text."""
        try:
            tree = json.loads(text)
            rates = {stage: Rate(**rate) for stage, rate in tree.pop("rates").items()}
            read = cls(rates=rates, **tree)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise GpuRatesError(
                f"not a file of GPU rates ({error})", remedy="recreate it with `benchmarks/gpu.py --commit`"
            ) from error
        wrong = [s for s, r in rates.items() if s not in GPU_STAGES or not _positive(r.times_real_time)]
        if wrong:
            raise GpuRatesError(
                f"the rate of {wrong[0]!r} is not a positive number of a known stage",
                remedy="recreate the file with `benchmarks/gpu.py --commit`",
            )
        return read


def load_rates(path: Path | None = None) -> GpuRates | None:
    """The committed rates, or those at a path; None if there is no file."""
    path = path or GPU_RATES
    return GpuRates.from_json(path.read_text()) if path.exists() else None


def seconds_on_gpu(cpu_seconds: dict[str, float], audio_ms: int, rates: GpuRates | None) -> dict[str, float | None]:
    """Seconds of each stage on a machine with that GPU: from its rate, or as on the CPU if the stage runs there.

    None for a GPU stage that has not been measured. Further codecs are taken to be as fast as the one that was.
    """
    known = rates.rates if rates else {}
    by_rate = {stage: audio_ms / 1000 / rate.times_real_time for stage, rate in known.items()}
    return {
        stage: by_rate.get(kind_of_stage(stage)) if kind_of_stage(stage) in GPU_STAGES else seconds
        for stage, seconds in cpu_seconds.items()
    }


def rates_markdown(rates: GpuRates | None) -> str:
    """The part of docs/projection.md that depends on the rates."""
    if rates is None:
        return (
            "GPU rates: **not measured**. [One prepared run](gpu.md) measures them; `voxbeam plan --device cuda` and this page\n"
            "take them from its committed figures.\n"
        )
    lines = [f"Measured on one {rates.card}, {rates.date[:10]}, torch {rates.torch} ([how](gpu.md)):\n", "\n"]
    lines += [f"| stage | × real time | GPU-hours for {HOURS:,} hours | measured on |\n", "|---|---|---|---|\n"]
    for stage in GPU_STAGES:
        rate = rates.rates.get(stage)
        if rate is None:
            lines.append(f"| {stage} | not measured | not measured | |\n")
        else:
            hours = HOURS / rate.times_real_time
            lines.append(f"| {stage} | {rate.times_real_time:,.0f} | {hours:,.0f} | {rate.measured_on} |\n")
    if all(stage in rates.rates for stage in GPU_STAGES):
        total = sum(HOURS / rate.times_real_time for rate in rates.rates.values())
        lines.append(f"| these stages | {HOURS / total:,.0f} | **{total:,.0f}** | one after the other |\n")
    return "".join(lines)


def with_rates(document: str, rates: GpuRates | None) -> str:
    """The document with the part between its two marks updated. Raises GpuRatesError if it lacks the marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise GpuRatesError(
            f"the document lacks the lines {BEGIN.strip()!r} and {END.strip()!r}", remedy="add them where the rates belong"
        )
    return f"{before}{BEGIN}\n{rates_markdown(rates)}\n{END}{after}"


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


if __name__ == "__main__":
    PROJECTION.write_text(with_rates(PROJECTION.read_text(), load_rates()))
