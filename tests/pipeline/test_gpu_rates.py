"""GPU rates: the file, seconds per stage, and the section of docs/projection.md, with all rates, some and none."""

from pathlib import Path

import pytest

from voxbeam.pipeline.gpu_rates import (
    BEGIN,
    END,
    GpuRates,
    GpuRatesError,
    Rate,
    load_rates,
    rates_markdown,
    seconds_on_gpu,
    with_rates,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "projection.md"


def rates_of(*stages: str) -> GpuRates:
    known = {"diarize": 200.0, "transcribe": 100.0, "tokenize": 2000.0}
    rates = {stage: Rate(times_real_time=known[stage], measured_on="some sizes") for stage in stages}
    return GpuRates(card="NVIDIA H100", date="2026-12-01T10:00:00+00:00", torch="2.11.0", commit="", rates=rates)


def test_the_projection_has_the_committed_rates() -> None:
    document = DOCUMENT.read_text()
    assert document == with_rates(document, load_rates()), "run `python -m voxbeam.pipeline.gpu_rates`"


def test_a_document_without_marks_is_refused() -> None:
    assert with_rates(f"a\n{BEGIN}old\n{END}b\n", None) == f"a\n{BEGIN}\n{rates_markdown(None)}\n{END}b\n"
    with pytest.raises(GpuRatesError, match="lacks the lines"):
        with_rates("a\nb\n", None)


def test_the_projection_has_a_total_only_if_every_stage_was_measured() -> None:
    assert "not measured" in rates_markdown(None)
    some = rates_markdown(rates_of("tokenize"))
    assert "| tokenize | 2,000 | 30 |" in some and "| diarize | not measured" in some and "these stages" not in some
    # 300 + 600 + 30 hours
    assert "| these stages | 65 | **930** |" in rates_markdown(rates_of("diarize", "transcribe", "tokenize"))


def test_rates_survive_writing_and_reading(tmp_path: Path) -> None:
    assert load_rates(tmp_path / "none.json") is None
    rates = rates_of("diarize", "tokenize")
    (tmp_path / "rates.json").write_text(rates.to_json())
    assert load_rates(tmp_path / "rates.json") == rates


@pytest.mark.parametrize("text", ["{}", "[]", "not JSON", rates_of("diarize").to_json().replace("200.0", "0")])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(GpuRatesError):
        GpuRates.from_json(text)


def test_other_stages_keep_their_seconds_on_the_cpu() -> None:
    cpu_seconds = {"decode": 60.0, "diarize": 900.0, "transcribe": 1800.0, "tokenize": 90.0}
    seconds = seconds_on_gpu(cpu_seconds, 36_000_000, rates_of("transcribe", "tokenize"))
    assert seconds == {"decode": 60.0, "diarize": None, "transcribe": 360.0, "tokenize": 18.0}
