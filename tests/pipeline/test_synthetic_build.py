"""A build without audio: what is foretold of its objects and requests is what it makes, and its slowest units are named."""

from collections import Counter
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from voxbeam.commands.report import print_result
from voxbeam.exports.describe import DESCRIPTIONS
from voxbeam.pipeline.build import BuildResult, build
from voxbeam.pipeline.cost_model import footprint
from voxbeam.pipeline.progress import MAX_SLOWEST
from voxbeam.pipeline.steps.pack import part_count
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.config import CorpusConfig, PackConfig
from voxbeam.schemas.formats import SPLITS
from voxbeam.storage.store import Store
from voxbeam.transforms.audio.sparse_file import BLOCK

from benchmarks.synthetic import CONFIG, made_up_build, write_listing

RECORDINGS = 30
"""so few that the shard goes up in one piece"""
COUNTED = ("put_if_absent", "put_named_by_content", "put_file", "copy", "get", "local_copy", "size")
PUTS = ("put_if_absent", "put_named_by_content", "put_file", "copy")
Built = tuple[BuildResult, Store, Counter[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A build, its store, and how often it asked the store for what: `get units`, `put_if_absent manifests`, …"""
    folder = tmp_path_factory.mktemp("made_up")
    calls = Counter[str]()

    def count(patched: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(Store, name)

        def counted(self: Store, path: str, *rest: Any) -> Any:
            calls[f"{name} {path.split('/')[0]}"] += 1
            return real(self, path, *rest)

        patched.setattr(Store, name, counted)

    write_listing(folder / "listing.parquet", RECORDINGS)
    config = CorpusConfig.model_validate({**CONFIG, "pack": {"valid_fraction": 0, "test_fraction": 0}})
    output = str(folder / "corpus")
    with pytest.MonkeyPatch.context() as patched, made_up_build():
        for name in COUNTED:
            count(patched, name)
        outcome = build(str(folder / "listing.parquet"), output, config, runner_args=["--direct_num_workers=1"])
    return outcome, Store(output), calls


def test_every_law_holds(built: Built) -> None:
    outcome, store, _ = built
    assert list(verify_release(store, outcome.release)) == []
    assert outcome.release.counts["done"] == RECORDINGS


def test_objects_and_requests(built: Built) -> None:
    outcome, store, calls = built
    counts, units = outcome.release.counts, calls["put_if_absent units"]
    assert units == outcome.progress.units > RECORDINGS
    sizes = [file.bytes for file in outcome.release.files_of_kind("shard")]
    foretold = footprint(RECORDINGS, units, units * BLOCK, sum(sizes), PackConfig())
    assert sum(1 for _ in store.walk()) == foretold.objects
    manifests = [path for path, _ in store.walk("manifests/")]
    assert (counts["shards"], len(manifests) - 1 - len(SPLITS) - len(DESCRIPTIONS)) == (foretold.shards, foretold.parts)
    assert foretold.writes == sum(n for call, n in calls.items() if call.split()[0] in PUTS)
    assert calls["get units"] == 3 * units, "is it there, its samples, its rejections"
    heads = calls["size shards"] + calls["size manifests"] + calls["size listings"]
    assert heads == foretold.shards + 2 * foretold.parts + 1 + 2 + len(SPLITS) + len(DESCRIPTIONS), (
        "parts twice, phones, listing, policy, lists, descriptions"
    )
    assert calls["get manifests"] == 2, "voices, identities"
    assert calls["get listings"] == 1, "the policy"
    facts = calls["local_copy manifests"]
    assert facts == counts["shards"] + 2 * part_count(units), "samples, rejected and recordings, for the descriptions"
    assert facts == sum(n for call, n in calls.items() if call.startswith("local_copy"))
    # what reads the input is made up here: a recording for its hash, and for each of its units a HEAD and one range
    assert (
        foretold.reads
        == RECORDINGS + 2 * units + calls["get units"] + calls["get manifests"] + calls["get listings"] + heads + facts
    )


@pytest.mark.parametrize(("shard_bytes", "shards", "writes"), [(1, 1, 10 + 1 + 12 + 13), (300 << 20, 2, 10 + 2 * 32 + 14 + 13)])
def test_large_shards_go_up_in_parts(shard_bytes: int, shards: int, writes: int) -> None:
    found = footprint(5, 10, 1, shard_bytes, PackConfig())
    assert (found.shards, found.writes) == (shards, writes)


def test_the_slowest_units_are_named(built: Built) -> None:
    outcome, store, _ = built
    assert len(outcome.progress.slowest) == MAX_SLOWEST
    console = Console(width=200, file=StringIO(), record=True)
    print_result(outcome, store, console)
    printed = console.export_text()
    assert "Slowest units" in printed and outcome.progress.slowest[0].recording in printed
    assert not any(b"seconds" in store.get(path) for path, _ in store.walk("releases/")), "a release holds no clock time"
