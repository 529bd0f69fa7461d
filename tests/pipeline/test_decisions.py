"""What people decided (exclusions, corrections, overlays) in a release by another policy, and in the next build."""

import json
from pathlib import Path

import pytest

from voxbeam.pipeline.diff import diff
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.errors import ConfigError
from voxbeam.schemas.identity import IdentityRow
from voxbeam.schemas.manifest import RecordingRow, RejectedRow, SampleRow
from voxbeam.storage.store import Store

from tests.pipeline.factories import contents
from tests.pipeline.made_up_corpus import base, build_with, latest, output, release_with, rows

__all__ = ["base", "output"]  # fixtures


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


def test_a_build_does_not_take_back_what_people_decided(base: Path, output: Path) -> None:
    first = latest(output)[1]
    release_with({"exclude": {"recordings": {"s0-4": "no consent"}}}, output)
    with pytest.raises(ConfigError, match=r"take back 1 decisions of release 000002 .*s0-4 \(no consent\)"):
        build_with({}, base / "listing.parquet", output)
    again = build_with({"exclude": {"recordings": {"s0-4": "no consent"}}}, base / "listing.parquet", output)
    assert not again.committed and not again.changes
    back = release_with({"exclude": {"recordings": {}}}, output).release
    assert contents(back) == contents(first)
