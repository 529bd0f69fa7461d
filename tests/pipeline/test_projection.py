"""Projection: what is foretold of a build's objects and requests is what a build without audio makes of them."""

from collections import Counter
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from assets.storage import Store
from benchmarks.made_up import CONFIG, made_up_build, write_listing
from pipeline.build import build
from pipeline.projection import footprint
from pipeline.verify import verify_release
from schemas.config import CorpusConfig, PackConfig

RECORDINGS = 60
COUNTED = ("put_new", "put_file", "copy", "get", "exists")


def test_objects_and_requests_of_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Counter[str]()

    def count(name: str) -> None:
        real = getattr(Store, name)

        def counted(self: Store, path: str, *rest: Any) -> Any:
            calls[f"{name} {path.split('/')[0]}"] += 1
            return real(self, path, *rest)

        monkeypatch.setattr(Store, name, counted)

    for name in COUNTED:
        count(name)
    write_listing(tmp_path / "listing.parquet", RECORDINGS)
    config = CorpusConfig.model_validate({**CONFIG, "pack": {"valid_share": 0, "test_share": 0}})
    output = tmp_path / "corpus"
    with made_up_build():
        console = Console(file=StringIO())
        release = build(str(tmp_path / "listing.parquet"), str(output), config, ["--direct_num_workers=1"], console).release
    units = calls["put_new units"]
    foretold = footprint(RECORDINGS, units, release.counts["samples"], config.pack)

    store = Store(str(output))
    assert list(verify_release(store, release)) == []
    assert release.counts["done"] == RECORDINGS and units > RECORDINGS
    assert sum(1 for _ in store.walk()) == foretold.objects
    manifests = [path for path, _ in store.walk("manifests/")]
    assert (release.counts["shards"], len(manifests) - 1) == (foretold.shards, foretold.parts)
    assert foretold.writes == sum(n for call, n in calls.items() if call.split()[0] in ("put_new", "put_file", "copy"))
    assert calls["get units"] == 3 * units, "is it there, its samples, its rejections"
    assert calls["exists shards"] + calls["exists manifests"] == foretold.shards + foretold.parts
    # what reads the input is made up here: a recording for its hash, and again for each of its units
    assert foretold.reads == RECORDINGS + units + calls["get units"] + foretold.shards + foretold.parts


@pytest.mark.parametrize(("shard_bytes", "shards", "writes"), [(1, 1, 10 + 1 + 8 + 5), (300 << 20, 2, 10 + 2 * 32 + 10 + 5)])
def test_large_shards_go_up_in_parts(shard_bytes: int, shards: int, writes: int) -> None:
    found = footprint(5, 10, shard_bytes, PackConfig())
    assert (found.shards, found.writes) == (shards, writes)
