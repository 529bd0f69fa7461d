"""Releases by another policy, on a corpus whose speech is made up: no model runs, and the recordings do not exist."""

import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from voxbeam.audit.answers import AnswerLog, put_plan
from voxbeam.audit.forecast import PolicyError, open_forecast
from voxbeam.audit.plan import make_plan
from voxbeam.audit.result import read_results
from voxbeam.audit.signing import key_path, open_key
from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.build import BuildResult, build
from voxbeam.pipeline.diff import diff
from voxbeam.pipeline.repack import ReleaseResult, release
from voxbeam.pipeline.steps.unit_file import read_header_and_table, unit_path
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError, DamagedUnitError, EmptyReleaseError, StorageError
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.schemas.release import Release
from voxbeam.storage.release_tables import ReleaseTables
from voxbeam.storage.releases import latest_release, read_rows, table_batches
from voxbeam.storage.store import Store, _open

from benchmarks.synthetic import CONFIG, made_up_build
from tests.pipeline.factories import contents
from tests.servers.faulty_proxy import Faults, FaultyProxy
from tests.servers.s3 import s3_server

SETTINGS: dict[str, Any] = {**CONFIG, "pack": {"valid_fraction": 0.3, "test_fraction": 0.3}}
RECORDINGS = [f"s{number % 2}-{number}" for number in range(6)]
"""by two speakers"""
ONE_WORKER = ["--direct_num_workers=1"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with one release, beside its listing."""
    folder = tmp_path_factory.mktemp("base")
    listed = [{"uri": f"/audio/{name}.flac", "recording": name, "speaker": name[:2]} for name in RECORDINGS]
    pq.write_table(pa.Table.from_pylist(listed), folder / "listing.parquet")
    build_with({}, folder / "listing.parquet", folder / "out")
    return folder


@pytest.fixture
def output(base: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(base / "out", tmp_path / "out")
    return tmp_path / "out"


def build_with(policy: dict[str, Any], listing: Path, output: Path) -> BuildResult:
    settings = {**SETTINGS, **policy, "filter": {**SETTINGS["filter"], **policy.get("filter", {})}}
    with made_up_build():
        return build(str(listing), str(output), CorpusConfig.model_validate(settings), runner_args=ONE_WORKER)


def release_with(policy: Any, output: Path, *options: str, **more: Any) -> ReleaseResult:
    return release(str(output), policy, runner_args=options or ONE_WORKER, **more)


def latest(output: Path) -> tuple[Store, Release]:
    store = Store(str(output))
    found = latest_release(store)
    assert found is not None
    return store, found


def rows(output: Path, record: Any) -> list[Any]:
    return list(read_rows(*latest(output), record))


@pytest.mark.parametrize(
    ("policy", "workers"),
    [
        ({"filter": {"min_dnsmos_ovrl": 3.5}}, 2),
        ({"filter": {"min_snr_db": 15.0}, "exclude": {"recordings": {"s0-4": "x"}, "speakers": {"s1": "y"}}}, 1),
        ({"pack": {"valid_fraction": 0.0, "test_fraction": 0.5}}, 1),
    ],
)  # fmt: skip
def test_bytes_are_those_of_a_build_from_nothing(
    policy: dict[str, Any], workers: int, base: Path, output: Path, tmp_path: Path
) -> None:
    before = contents(latest(output)[1])
    made = release_with(policy, output, f"--direct_num_workers={workers}")
    assert made.committed and made.release is not None and (made.release.number, made.release.parent) == (2, 1)
    store, found = latest(output)
    assert found == made.release and list(verify_release(store, found)) == []
    whole = build_with(policy, base / "listing.parquet", tmp_path / "whole").release
    assert contents(found) == contents(whole) != before
    assert (found.config, found.fingerprint, found.counts) == (whole.config, whole.fingerprint, whole.counts)


def test_a_line_that_an_overlay_lost_is_said_to_stay_decided(output: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "left out.jsonl"
    lines = [json.dumps({"recording": name, "reason": "x"}) + "\n" for name in ("s0-4", "s1-1")]
    policy = {"overlays": [str(overlay)]}
    overlay.write_text("".join(lines))
    assert release_with(policy, output).inherited == ()
    overlay.write_text(lines[0])
    again = release_with(policy, output)
    assert not again.committed and again.inherited == ("exclude.recordings: s1-1",)
    taken_back = release_with({**policy, "exclude": {"recordings": {}}}, output)
    assert taken_back.committed and taken_back.inherited == ()
    assert release_with({"filter": {"min_snr_db": 15.0}}, output).inherited == (), "a policy of limits is about limits"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Worker processes that were asked for, on a machine with four cores."""
    found = list[int]()
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("voxbeam.pipeline.runners.local.start_process", lambda *_: found.append(1))
    return found


def test_a_small_release_starts_no_worker_process(output: Path, started: list[int]) -> None:
    assert release(str(output), {"filter": {"min_dnsmos_ovrl": 3.5}}).committed and not started


def test_a_build_with_nothing_to_do_starts_no_worker_process(base: Path, output: Path, started: list[int]) -> None:
    with made_up_build():
        again = build(str(base / "listing.parquet"), str(output), CorpusConfig.model_validate(SETTINGS))
    assert not again.committed and not again.changes and not started


@pytest.mark.s3
def test_a_bucket_behind_a_failing_network_gets_the_same_bytes(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {"filter": {"min_dnsmos_ovrl": 3.5}, "exclude": {"recordings": {"s0-4": "x"}, "speakers": {"s1": "y"}}}
    with s3_server(tmp_path / "s3") as server, FaultyProxy(server.url, Faults(refuse=0.04, cut=0.03, lose=0.03)) as proxy:
        for name, value in server.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        store = Store("s3://corpora/made up")
        for path, _ in Store(str(output)).walk():
            store.put_file(path, output / path)
        told = release("s3://corpora/made up", policy, dry_run=True)
        made = release("s3://corpora/made up", policy, runner_args=ONE_WORKER).release
        assert made is not None and told.preview is not None and made.counts["samples"] == told.preview.then.samples
        assert list(verify_release(store, made)) == [] and proxy.counts
    _open.cache_clear()
    assert made == release_with(policy, output).release


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


def test_a_release_names_what_it_does_not_have_and_is_not_empty_unasked(output: Path) -> None:
    """A mistyped speaker stays in the release: that is said. A policy that nothing passes makes no release."""
    key = rows(output, SampleRow)[0].key
    policy = {
        "exclude": {"recordings": {"s1-1": "x", "nobody": "y"}, "speakers": {"s0": "x", "s00": "y"}},
        "corrections": {"rejected": {key: "two voices", "s0-1_00000000_00000001": "z"}},
    }
    made = release_with(policy, output)
    assert made.committed and made.unknown == (
        "exclude.recordings: nobody",
        "exclude.speakers: s00",
        "corrections.rejected: s0-1_00000000_00000001",
    )
    with pytest.raises(EmptyReleaseError, match="no segment would be accepted") as caught:
        release_with({"filter": {"min_dnsmos_ovrl": 5.0}}, output)
    assert "--dry-run" in str(caught.value) and latest(output)[1].number == 2
    empty = release_with({"filter": {"min_dnsmos_ovrl": 5.0}}, output, allow_empty=True).release
    assert empty is not None and not empty.counts.get("samples")
    assert release_with({"filter": {"min_dnsmos_ovrl": 4.9}}, output).committed, "it was empty before"


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


def test_what_is_left_out_keeps_its_time_and_loses_its_words(output: Path) -> None:
    release_with({"exclude": {"speakers": {"s0": "asked to"}}}, output)
    gone = [row for row in rows(output, RejectedRow) if row.speaker == "s0" and row.rejected_by == "exclude"]
    assert gone and all(row.reasons[0] == "excluded" and row.text is None for row in gone)
    assert {row.speaker for row in rows(output, SampleRow)} == {"s1"}
    voice = next(row for row in rows(output, RecordingRow) if row.speaker == "s0")
    assert voice.accepted_ms == 0 and voice.rejected_ms > 0 and voice.status == "done"


def test_an_identity_stays_out_until_it_is_taken_back(output: Path) -> None:
    first = latest(output)[1]
    person = next(row for row in rows(output, IdentityRow) if row.name == "s1")
    policy = {"exclude": {"identities": {person.identity: "asked to"}}}
    out = release_with(policy, output).release
    assert out is not None and set(out.config["exclude"]["voices"]) == set(person.voices)
    assert {row.identity for row in rows(output, SampleRow)}.isdisjoint({person.identity})
    assert not release_with(policy, output).committed, "the same policy"
    back = release_with({"exclude": {"identities": {}}}, output).release
    assert back is not None and back.config["exclude"] == first.config["exclude"] and contents(back) == contents(first)
    with pytest.raises(ConfigError, match="which release 000003 has not"):
        release_with({"exclude": {"identities": {"nobody": "x"}}}, output)


def test_overlays_are_part_of_the_release(output: Path, tmp_path: Path) -> None:
    first, second, third = rows(output, SampleRow)[:3]
    lines = [
        {"key": first.key, "text": "Something else was said.", "by": "ada"},
        {"key": second.key, "reason": "cut word"},
        {"key": third.key, "text": "a sign \u2764 it has"},
        {"segment": rows(output, SampleRow)[5].key, "reason": "a name is said"},
    ]
    (tmp_path / "marks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "policy.yaml").write_text(f"overlays: [{tmp_path / 'marks.jsonl'}]")
    made = release_with(tmp_path / "policy.yaml", output).release
    assert made is not None and made.config["overlays"] == [] and list(verify_release(*latest(output))) == []
    assert made.config["corrections"]["texts"][first.key] == "Something else was said."
    samples, rejected = ({row.key: row for row in rows(output, record)} for record in (SampleRow, RejectedRow))
    fixed = samples[first.key]
    assert (fixed.text, fixed.words, fixed.avg_logprob) == ("Something else was said.", None, None)
    assert fixed.phones != first.phones and len(fixed.phone_ids) == len(fixed.phones.split())
    assert json.loads(Store(str(output)).get_range(fixed.shard, fixed.json_offset, fixed.json_bytes))["text"] == fixed.text
    assert (rejected[second.key].rejected_by, rejected[second.key].reasons) == ("corrections", ["marked_wrong"])
    assert (rejected[third.key].rejected_by, rejected[third.key].reasons) == ("phonemize", ["unspoken_symbol"])
    assert rejected[lines[3]["segment"]].reasons == ["excluded"]
    changes = {(row["key"], row["change"], row["why"]) for row in diff(str(output), 1, 2).table.to_pylist()}
    assert {(first.key, "text", "corrections"), (second.key, "rejected", "corrections")} <= changes
    assert (lines[3]["segment"], "rejected", "exclude") in changes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "line 2 is no exclusion"),
        ('{"recording": "r", "text": "t"}', "line 2 is no exclusion"),
        ('{"key": "k", "reason": "r", "txt": "t"}', "line 2 is no exclusion"),
        ('{"key": "k", "reason": " "}', "line 2 is no exclusion"),
        ("[1]", "line 2"),
        ("not JSON", "line 2: not a JSON object"),
        ('{"key": "k", "key": "l", "text": "t"}', "line 2: not a JSON object: the key 'key' is there twice"),
    ],
)
def test_a_wrong_line_of_an_overlay_is_named(line: str, message: str, output: Path, tmp_path: Path) -> None:
    (tmp_path / "marks.jsonl").write_text(f'\ufeff{{"key": "k", "text": "t"}}\n{line}\n')
    with pytest.raises(ConfigError, match=message):
        release_with({"overlays": [str(tmp_path / "marks.jsonl")]}, output)


def test_the_same_policy_makes_no_release_and_another_stage_needs_a_build(output: Path, tmp_path: Path) -> None:
    assert not release_with({"filter": {"min_dnsmos_ovrl": 2.2}}, output).committed
    for settings in ({"segment": {"max_s": 20.0}}, {"pack": {"keep_audio": True}}, {"listing": {"language": "de"}}):
        with pytest.raises(ConfigError, match="not only a policy"):
            release_with(settings, output)
    with pytest.raises(ConfigError, match=r"filter\.min_snr: there is no such key; did you mean filter\.min_snr_db"):
        release_with({"filter": {"min_snr": 1}}, output)
    (tmp_path / "all.yaml").write_text(json.dumps(latest(output)[1].config))
    assert not release_with(tmp_path / "all.yaml", output).committed, "a whole configuration with the same stages will do"


def test_a_build_does_not_take_back_what_people_decided(base: Path, output: Path) -> None:
    first = latest(output)[1]
    release_with({"exclude": {"recordings": {"s0-4": "no consent"}}}, output)
    with pytest.raises(ConfigError, match=r"take back 1 decisions of release 000002 .*s0-4 \(no consent\)"):
        build_with({}, base / "listing.parquet", output)
    again = build_with({"exclude": {"recordings": {"s0-4": "no consent"}}}, base / "listing.parquet", output)
    assert not again.committed and not again.changes
    back = release_with({"exclude": {"recordings": {}}}, output).release
    assert contents(back) == contents(first)


def test_a_missing_unit_and_older_units_are_named(output: Path) -> None:
    store, found = latest(output)
    unit = rows(output, RecordingRow)[0].units[0]
    store.delete([unit_path(unit)])
    for dry_run in (True, False):
        with pytest.raises(DamagedUnitError, match=f"{unit_path(unit)}.*is missing"):
            release_with({"filter": {"min_snr_db": 11.0}}, output, dry_run=dry_run)
    (output / "releases" / "000001.json").write_bytes(Release(**{**vars(found), "code_version": 6}).to_json())
    with pytest.raises(StorageError, match="made by an earlier voxbeam"):
        release_with({"filter": {"min_snr_db": 11.0}}, output)


def test_a_corpus_of_earlier_versions_is_read_and_released(output: Path) -> None:
    """Without the columns that came later: they are null, queries find them, and rules about them do not apply."""
    store, found = latest(output)
    _as_before(output, store, found)
    store, found = latest(output)
    assert list(verify_release(store, found)) == []
    with ReleaseTables(store, found) as tables:
        told = tables.row("SELECT count(*) AS n, count(edge_jump) AS jumps, count(snr_db) AS levels FROM segments WHERE accepted")
    assert (told["n"], told["jumps"], told["levels"]) == (found.counts["samples"], 0, found.counts["samples"])
    (batch, *_) = table_batches(store, found, SampleRow, ["edge_jump", "key"])
    assert batch.schema.names == ["edge_jump", "key"] and batch["edge_jump"].null_count == len(batch)
    made = release_with({"filter": {"min_dnsmos_ovrl": 3.5, "max_edge_jump": 0.0}}, output).release
    assert made is not None and list(verify_release(store, made)) == []
    assert 0 < made.counts["samples"] < found.counts["samples"] and {row.edge_jump for row in rows(output, SampleRow)} == {None}


def _as_before(output: Path, store: Store, found: Release) -> None:
    """Writes the tables and units of a release again without the columns that came with the last two versions."""

    def older(table: pa.Table) -> pa.Table:
        metadata = dict(table.schema.metadata)
        metadata[b"version"] = str(int(metadata[b"version"]) - 2).encode()
        return table.drop_columns(["edge_jump", "spectral_pace", "codec_trace"]).replace_schema_metadata(metadata)

    files = []
    for file in found.files:
        if file.kind in ("samples", "rejected"):
            pq.write_table(older(pq.read_table(output / file.path)), output / file.path)
            content = (output / file.path).read_bytes()
            file = replace(file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        if file.kind not in DESCRIPTIONS:
            files.append(file)
    for path, _ in store.walk("units/"):
        table, sink = older(read_header_and_table(store.get(path))[1]), io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        body = sink.getvalue()
        store.replace(path, store.get(path)[:16] + hashlib.sha256(body).digest() + body)
    store.replace("releases/000001.json", replace(found, files=tuple(files)).to_json())


def test_a_diff_says_why(base: Path, output: Path, tmp_path: Path) -> None:
    release_with({"filter": {"min_dnsmos_ovrl": 3.5}, "exclude": {"recordings": {"s0-4": "no consent"}}}, output)
    found = diff(str(output), 1, 2)
    assert found.settings == (
        "filter.min_dnsmos_ovrl: 2.2 → 3.5",
        "exclude.recordings: 1 added (s0-4)",
    )
    totals = {(why, change): (segments, ms) for why, change, segments, ms in found.totals()}
    one, two = found.before.counts, found.after.counts
    removed = totals["exclude", "removed"]
    lost = one["samples"] - two["samples"]
    rejected = totals["threshold", "rejected"]
    assert set(totals) == {("exclude", "removed"), ("threshold", "rejected")}
    gone_samples = sum(row["recording"] == "s0-4" and row["before"] == "accepted" for row in found.table.to_pylist())
    assert rejected[0] + gone_samples == lost and removed[0] > gone_samples
    found.write_parquet(tmp_path / "changes.parquet")
    assert pq.read_table(tmp_path / "changes.parquet").equals(found.table)
    assert len(diff(str(output), 1, 1).table) == 0
    stages = {"segment": {"max_s": 20.0}, "exclude": {"recordings": {"s0-4": "no consent"}}}
    build_with(stages, base / "listing.parquet", output)
    assert "segment.max_s: 30.0 → 20.0" in diff(str(output), 2, 3).settings


def test_a_damaged_file_of_it_is_healed_by_the_build(base: Path, output: Path) -> None:
    policy = {"filter": {"min_dnsmos_ovrl": 3.5}, "exclude": {"speakers": {"s1": "asked to"}}}
    made = release_with(policy, output).release
    assert made is not None
    for kind in ("shard", "rejected", "recordings"):
        (output / made.files_of_kind(kind)[0].path).unlink()
    outcome = build_with(policy, base / "listing.parquet", output)
    assert not outcome.committed and latest(output)[1] == made
    assert list(verify_release(*latest(output))) == []
