"""What `voxbeam plan --device cuda` says with all rates, some and none."""

from io import StringIO

from rich.console import Console

from voxbeam.commands.documents import plan_document
from voxbeam.commands.plan_report import print_gpu_plan
from voxbeam.pipeline.cost_model import footprint
from voxbeam.pipeline.gpu_rates import GpuRates, Rate
from voxbeam.pipeline.plan import Plan
from voxbeam.schemas.config import PackConfig

PLAN = Plan(
    recordings=10,
    probed=10,
    unusable=0,
    audio_ms=36_000_000,
    audio_error=0.0,
    measured_ms=60_000,
    seconds={"decode": 60.0, "diarize": 900.0, "transcribe": 1800.0, "tokenize": 90.0},
    accepted_ms=36_000_000,
    samples=2_500,
    unit_bytes=1,
    footprint=footprint(10, 30, 1_000_000, 1_000_000, PackConfig()),
)
RATES = {
    "diarize": Rate(times_real_time=200.0, measured_on="some sizes"),
    "transcribe": Rate(times_real_time=100.0, measured_on="some sizes"),
    "tokenize": Rate(times_real_time=2000.0, measured_on="some sizes"),
}


def gpu_rates(*stages: str) -> GpuRates:
    rates = {stage: RATES[stage] for stage in stages}
    return GpuRates(card="NVIDIA H100", date="2026-12-01T10:00:00+00:00", torch="2.11.0", commit="", rates=rates)


def printed(rates: GpuRates | None) -> str:
    sink = StringIO()
    print_gpu_plan(PLAN, rates, Console(file=sink, width=200))
    return sink.getvalue()


def test_there_is_a_total_only_if_every_stage_was_measured() -> None:
    for rates in (None, gpu_rates("transcribe")):
        text = printed(rates)
        assert "not measured" in text and "no total" in text and "about" not in text
    text = printed(gpu_rates(*RATES))
    # 60 + 180 + 360 + 18 s
    assert "not measured" not in text and "about 10.3 min" in text, text


def test_the_document_has_null_for_what_was_not_measured() -> None:
    assert plan_document(PLAN)["gpu"] is None
    none, some = plan_document(PLAN, None, gpu=True)["gpu"], plan_document(PLAN, gpu_rates("transcribe"), gpu=True)["gpu"]
    assert none["card"] is None and none["worker_seconds"]["transcribe"] is None
    assert some["card"] == "NVIDIA H100"
    assert some["worker_seconds"] == {"decode": 60.0, "diarize": None, "transcribe": 360.0, "tokenize": None}
