"""A dry run of a release: it says what the release then has, and how wrong its labels would be."""

from pathlib import Path
from typing import Any

import pytest

from voxbeam.audit.answers import AnswerLog, put_plan
from voxbeam.audit.forecast import PolicyError, open_forecast
from voxbeam.audit.plan import make_plan
from voxbeam.audit.result import read_results
from voxbeam.audit.signing import key_path, open_key
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.main import main
from voxbeam.schemas.errors import StorageError
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow

from tests.pipeline.made_up_corpus import RECORDINGS, base, latest, output, release_with, rows

__all__ = ["base", "output"]  # fixtures


def test_a_dry_run_says_what_the_release_then_has(output: Path) -> None:
    policy = {
        "filter": {"min_dnsmos_ovrl": 3.5, "min_snr_db": 10.0},
        "exclude": {"recordings": {"s1-1": "x", "nobody": "y"}, "speakers": {"s0": "asked to", "s0-4": "a recording"}},
    }
    before = latest(output)[1].counts
    told = release_with(policy, output, dry_run=True)
    assert told.preview is not None and told.release is None and latest(output)[1].number == 1
    result = release_with(policy, output)
    made = result.release
    assert made is not None and result.unknown == told.unknown
    now, then = told.preview.now, told.preview.then
    assert [(o.accepted_ms, o.rejected_ms, o.samples) for o in (now, then)] == [
        (c["accepted_ms"], c["rejected_ms"], c["samples"]) for c in (before, made.counts)
    ]
    assert told.preview.lost_speakers == ["s0"] and told.unknown == (
        "exclude.recordings: nobody",
        "exclude.speakers: s0-4",
    )
    reasons = [reason for row in rows(output, RejectedRow) for reason in row.reasons]
    assert {reason: reasons.count(reason) for reason in set(reasons)} == dict(then.segments)
    assert now.accepted_ms - then.accepted_ms == before["accepted_ms"] - made.counts["accepted_ms"]
    (out,) = (row for row in rows(output, RecordingRow) if row.status == "excluded")
    assert (out.recording, out.reason, out.error, made.counts["excluded"]) == ("s1-1", "excluded", "x", 1)
    assert then.excluded_ms == out.duration_ms


def test_a_dry_run_foretells_the_label_error(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener who calls every sample below a DNSMOS wrong: a limit there takes the error away, corrections too."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    release_with({"filter": {"max_compression_ratio": 1.8}}, output)
    store, found = latest(output)
    assert open_forecast(store, found) is None, "nobody has listened"
    scores = {row.key: row.dnsmos_ovrl or 0.0 for row in rows(output, SampleRow)}
    limit = sorted(scores.values())[len(scores) // 4]
    plan = make_plan(store, found, clips=40)
    put_plan(store, plan)
    log = AnswerLog(store, plan, open_key(key_path()), "Ann")
    weights = {stratum.name: stratum.weight for stratum in plan.strata}
    for clip in plan.clips:
        answer = "wrong_text" if scores[clip.key] < limit else "right"
        log.add(clip.key, clip.stratum, weights[clip.stratum], "", answer)

    def foretell(policy: dict[str, Any]) -> tuple[PolicyError, PolicyError]:
        forecast = open_forecast(*latest(output))
        assert forecast is not None and forecast.release == found
        told = release_with(policy, output, dry_run=True, on_judged=forecast.add)
        assert told.preview is not None
        for outcome, error in ((told.preview.now, forecast.now), (told.preview.then, forecast.then)):
            assert outcome.samples == sum(error.samples.values()) + error.unheard - error.taken_out
        return forecast.now, forecast.then

    now, then = foretell({"filter": {"min_dnsmos_ovrl": limit}})
    result = read_results(store, found)[0].overall
    assert (now.overall().rate, now.overall().high) == pytest.approx((result.rate, result.high)), "what `audit --result` says"
    assert 0.1 < now.overall().rate < 0.4 and then.overall().rate == 0 and then.overall().low == 0
    wrong = [clip.key for clip in plan.clips if scores[clip.key] < limit]
    half = len(wrong) // 2
    _, then = foretell(
        {"corrections": {"rejected": dict.fromkeys(wrong[:half], "x"), "texts": dict.fromkeys(wrong[half:], "Yes.")}}
    )
    left = len(scores) - half
    assert then.repaired == len(wrong) and then.taken_out == half
    assert then.overall().rate == pytest.approx((result.rate * len(scores) - len(wrong)) / left), (
        "the others are as wrong as before"
    )
    release_with({"filter": {"min_dnsmos_ovrl": limit}}, output)
    now, then = foretell({"filter": {"max_compression_ratio": None}})
    assert (now.overall().rate, then.unheard > 0) == (0, True), "an audit of an earlier release of the same units counts"
    assert then.overall().high > then.unheard / (sum(then.samples.values()) + then.unheard) > now.overall().high - 1
    path = next(path for path, _ in store.walk("audits/") if path.endswith("000000.json"))
    store.replace(path, store.get(path).replace(b"wrong_text", b"right"))
    store.replace(path, store.get(path).replace(b"Ann", b"Bob"))
    with pytest.raises(StorageError, match="not as they were signed"):
        open_forecast(*latest(output))


def test_the_command_does_not_say_that_it_builds(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.yaml").write_text("filter: {min_dnsmos_ovrl: 3.5}")
    assert main(["release", str(output), "--config", str(tmp_path / "policy.yaml"), "--dry-run"]) == DONE
    told = capsys.readouterr().err
    assert f"Judging {len(RECORDINGS)} recordings of" in told and "Building" not in told
