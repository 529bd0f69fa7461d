"""A plan is made of recordings that can be used, says how sure it is, and fails when there are none."""

import json
from pathlib import Path

import pytest

from voxbeam import assets
from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.plan import _Measured, _sample_units, plan
from voxbeam.pipeline.plan_sample import probe_sample
from voxbeam.pipeline.steps.probe import Probed
from voxbeam.schemas.config import CorpusConfig, DecodeConfig
from voxbeam.schemas.errors import ConfigError, StageError
from voxbeam.schemas.recording import Recording
from voxbeam.transforms.decode import estimate_sandboxed

from tests.pipeline.factories import source

SPEECH = sorted(assets.DEMO.rglob("*.flac"))


@pytest.mark.slow
def test_an_input_of_which_nothing_can_be_used_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"uri": f"missing-{number}.wav", "speaker": "a"} for number in range(3)]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert main(["plan", "--input", str(tmp_path / "list.jsonl"), "--json"]) == UNUSABLE
    printed = capsys.readouterr()
    assert printed.out == "" and "none of the 3 recordings" in printed.err and "missing-0.wav" in printed.err


@pytest.mark.slow
def test_a_large_input_is_estimated_from_few_of_its_recordings() -> None:
    lengths = [estimate_sandboxed(path, DecodeConfig()).duration_ms for path in SPEECH]
    count = 20_000
    listed = [Recording(recording=f"r{number}", uri=str(SPEECH[number % len(SPEECH)])) for number in range(count)]
    true_ms = sum(lengths[number % len(SPEECH)] for number in range(count))
    sample = probe_sample(listed, DecodeConfig(), lambda done, total: None)
    assert 300 <= len(sample.probed) <= 2000 and len(sample.usable) == len(sample.probed)
    found_ms = sum(probed.source.duration_ms for probed in sample.probed if probed.source) / sample.fraction
    assert sample.duration_error > 0 and abs(found_ms / true_ms - 1) < 1.5 * sample.duration_error


@pytest.mark.slow
def test_what_cannot_be_used_is_counted_by_reason(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound " * 100)
    uris = [str(SPEECH[0]), str(tmp_path / "text.wav"), *(str(tmp_path / f"missing-{number}.wav") for number in range(2))]
    sample = probe_sample([Recording(recording=uri, uri=uri) for uri in uris], DecodeConfig(), lambda done, total: None)
    kinds = {kind.reason: kind for kind in sample.unusable()}
    assert {reason: kind.count for reason, kind in kinds.items()} == {"unreadable": 2, "not_audio": 1}
    assert "text.wav" in kinds["not_audio"].example and sample.duration_error == 0


@pytest.mark.parametrize("sample_ms", [20_000, 180_000, 3_600_000])
def test_windows_of_short_recordings_add_up_to_the_sample(sample_ms: int) -> None:
    lengths = [3_000 + 1_000 * (number % 9) for number in range(1000)]
    usable = [
        Probed(recording=Recording(recording=f"r{number}", uri=f"r{number}.wav"), source=source(ms))
        for number, ms in enumerate(lengths)
    ]
    units = _sample_units(usable, CorpusConfig(), sample_ms)
    chosen_ms = sum(unit.end_ms - unit.start_ms for unit in units)
    assert len({unit.recording.recording for unit in units}) == len(units)
    assert abs(chosen_ms / sample_ms - 1) < 0.25


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_a_sample_has_a_length(minutes: float) -> None:
    with pytest.raises(ConfigError):
        plan("nowhere", sample_minutes=minutes)


@pytest.mark.slow
def test_a_file_that_cannot_be_decoded_ends_the_plan_of_it(tmp_path: Path) -> None:
    content = bytearray(SPEECH[0].read_bytes())
    for place in range(20_000, len(content), 500):
        content[place] ^= 0xFF
    (tmp_path / "damaged.flac").write_bytes(content)
    with pytest.raises(StageError, match=r"none of the 1 windows.*decode"):
        plan(str(tmp_path))


def test_why_nothing_would_be_accepted_is_said() -> None:
    measured = _Measured(ms=1)
    measured.reasons.update(["low_snr", "low_snr", "language"])
    (note,) = measured.notes()
    assert "2 × low_snr, 1 × language" in note
