"""Releases by another policy, on a corpus whose speech is made up."""

import json
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.build import build
from voxbeam.pipeline.repack import release
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ConfigError, EmptyReleaseError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.store import Store, _open

from benchmarks.synthetic import made_up_build
from tests.pipeline.factories import contents
from tests.pipeline.made_up_corpus import ONE_WORKER, SETTINGS, base, build_with, latest, output, release_with, rows
from tests.servers.faulty_proxy import Faults, FaultyProxy
from tests.servers.s3 import s3_server

__all__ = ["base", "output"]  # fixtures


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


def test_the_same_policy_makes_no_release_and_another_stage_needs_a_build(output: Path, tmp_path: Path) -> None:
    assert not release_with({"filter": {"min_dnsmos_ovrl": 2.2}}, output).committed
    for settings in ({"segment": {"max_s": 20.0}}, {"pack": {"keep_audio": True}}, {"listing": {"language": "de"}}):
        with pytest.raises(ConfigError, match="not only a policy"):
            release_with(settings, output)
    with pytest.raises(ConfigError, match=r"filter\.min_snr: there is no such key; did you mean filter\.min_snr_db"):
        release_with({"filter": {"min_snr": 1}}, output)
    (tmp_path / "all.yaml").write_text(json.dumps(latest(output)[1].config))
    assert not release_with(tmp_path / "all.yaml", output).committed, "a whole configuration with the same stages will do"


def test_a_damaged_file_of_it_is_healed_by_the_build(base: Path, output: Path) -> None:
    policy = {"filter": {"min_dnsmos_ovrl": 3.5}, "exclude": {"speakers": {"s1": "asked to"}}}
    made = release_with(policy, output).release
    assert made is not None
    for kind in ("shard", "rejected", "recordings"):
        (output / made.files_of_kind(kind)[0].path).unlink()
    outcome = build_with(policy, base / "listing.parquet", output)
    assert not outcome.committed and latest(output)[1] == made
    assert list(verify_release(*latest(output))) == []
