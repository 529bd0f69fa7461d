"""Remove: recordings and speakers out of the next release, with the reason kept, on a corpus whose speech is made up."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.commands.main import main
from voxbeam.pipeline.remove import remove
from voxbeam.schemas.errors import NotInCorpusError
from voxbeam.schemas.manifest import RecordingRow, SampleRow

from tests.pipeline.made_up_corpus import ONE_WORKER, base, latest, output, release_with, rows

__all__ = ["base", "output"]  # fixtures


def removals(output: Path) -> list[Path]:
    return sorted((output / "removals").glob("*.jsonl")) if (output / "removals").exists() else []


def test_a_recording_and_a_speaker_are_out_of_the_next_release(output: Path) -> None:
    before = {row.key for row in rows(output, SampleRow)}
    result = remove(
        str(output), recordings=["s0-4"], speakers=["s1"], reason="asked to be taken out", who="Ann", runner_args=ONE_WORKER,
        now=lambda: datetime(2026, 11, 26, tzinfo=UTC),
    )  # fmt: skip
    assert result.committed and result.release is not None and result.release.number == 2
    left = rows(output, SampleRow)
    assert left and not [row for row in left if row.recording == "s0-4" or row.speaker == "s1"]
    assert {row.key for row in left} == {key for key in before if key.startswith("s0-") and not key.startswith("s0-4")}
    assert [row.status for row in rows(output, RecordingRow) if row.recording == "s0-4"] == ["excluded"]
    _, release = latest(output)
    assert release.config["exclude"]["recordings"] == {"s0-4": "asked to be taken out"}
    assert release.config["exclude"]["speakers"] == {"s1": "asked to be taken out"}
    (kept,) = removals(output)
    assert [json.loads(line) for line in kept.read_text().splitlines()] == [
        {"recording": "s0-4", "reason": "asked to be taken out", "by": "Ann", "at": "2026-11-26T00:00:00+00:00"},
        {"speaker": "s1", "reason": "asked to be taken out", "by": "Ann", "at": "2026-11-26T00:00:00+00:00"},
    ]
    assert not release_with({"overlays": [str(kept)]}, output).committed  # the overlay says what the release says


def test_what_was_left_out_before_stays_left_out(output: Path) -> None:
    release_with({"exclude": {"recordings": {"s0-0": "first"}}}, output)
    remove(str(output), recordings=["s0-2"], reason="second", who="Ann", runner_args=ONE_WORKER)
    _, release = latest(output)
    assert release.config["exclude"]["recordings"] == {"s0-0": "first", "s0-2": "second"}


def test_nothing_is_written_for_a_name_that_is_not_there_and_in_a_dry_run(output: Path) -> None:
    with pytest.raises(
        NotInCorpusError, match=r"no recording s0-9; take the name from the column `recording`.*nothing was removed"
    ):
        remove(str(output), recordings=["s0-4", "s0-9"], reason="x", who="Ann", runner_args=ONE_WORKER)
    with pytest.raises(NotInCorpusError, match="no speaker nobody"):
        remove(str(output), speakers=["nobody"], reason="x", who="Ann", runner_args=ONE_WORKER)
    result = remove(str(output), speakers=["s1"], reason="x", who="Ann", dry_run=True, runner_args=ONE_WORKER)
    assert result.preview is not None and result.preview.lost_speakers and result.release is None
    assert latest(output)[1].number == 1 and not removals(output)


def test_the_command_needs_a_name_and_a_reason(output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", str(output), "--reason", "x"]) == UNUSABLE
    assert "name what to remove" in capsys.readouterr().err
    assert main(["remove", str(output), "--recording", "s0-4", "--reason", " "]) == UNUSABLE
    assert "--reason is empty" in capsys.readouterr().err
    words = ["remove", str(output), "--recording", "s0-4", "--reason", "withdrawn", "--name", "Ann", *ONE_WORKER, "--json"]
    assert main(words) == DONE
    assert json.loads(capsys.readouterr().out)["committed"] is True
