"""What changed between two releases, and why."""

from pathlib import Path

import pyarrow.parquet as pq

from voxbeam.pipeline.diff import diff

from tests.pipeline.made_up_corpus import base, build_with, output, release_with

__all__ = ["base", "output"]  # fixtures


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
