"""Several codecs in a release: members of the sample, their places in the table, and whatever reads or rewrites them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds

from voxbeam.pipeline.steps.revise import packed_samples
from voxbeam.pipeline.steps.shards import write_shards
from voxbeam.pipeline.takedown.person import Person
from voxbeam.pipeline.takedown.purge import add_rows
from voxbeam.pipeline.takedown.scan import scan
from voxbeam.pipeline.verify import verify_release
from voxbeam.schemas.columns import arrow_schema
from voxbeam.schemas.errors import DamagedUnitError, StorageError
from voxbeam.schemas.manifest import SampleRow
from voxbeam.storage.release_tables import ReleaseTables
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

from tests.pipeline.factories import further_codes, member, small_release, unit_row

CODECS = ("one", "two")


def test_members_of_every_codec(tmp_path: Path) -> None:
    given = [member("a", start, codecs=CODECS, flac=b"fLaC") for start in (0, 2500)]
    ((shard, rows),) = write_shards(Store(str(tmp_path)), "train", 0, given, 1 << 30)
    for sample, row in zip(wds.WebDataset(str(tmp_path / shard.shard), shardshuffle=False).decode(), rows, strict=True):
        assert {name for name in sample if not name.startswith("__")} == {
            "codes.npy", "codes.one.npy", "codes.two.npy", "json", "flac"
        }  # fmt: skip
        first = sample["codes.npy"]
        for number, name in enumerate(CODECS, start=1):
            np.testing.assert_array_equal(sample[f"codes.{name}.npy"], (first + number) % 1024)
        assert "further_codes" not in sample["json"]
        for one in row.further_codes or ():
            content = Store(str(tmp_path)).get_range(row.shard, one["offset"], one["bytes"])
            np.testing.assert_array_equal(np.load(io.BytesIO(content)), sample[f"codes.{one['codec']}.npy"])


def test_codes_of_another_length_are_refused() -> None:
    row = unit_row()
    assert row.codes is not None
    with pytest.raises(DamagedUnitError, match="has 16 bytes of codes for 150 frames; remove its unit u0"):
        member(further_codes=[{"codec": "one", "codes": row.codes[:16]}])


def test_a_table_has_the_column_only_with_further_codecs(tmp_path: Path) -> None:
    for name, codecs in (("with", CODECS), ("without", ())):
        store, release = small_release(tmp_path / name, codecs=codecs)
        assert list(verify_release(store, release)) == [] and release.codecs == codecs
        schemas = {tuple(pq.read_schema(tmp_path / name / file.path).names) for file in release.files_of_kind("samples")}
        base = tuple(arrow_schema(SampleRow).names)
        assert schemas == {(*base, "further_codes") if codecs else base}
        assert ("codecs" in release.config) == bool(codecs)
    with ReleaseTables(*small_release(tmp_path / "asked", codecs=CODECS)) as tables:
        query = "SELECT c.codec, count(*) AS n FROM (SELECT unnest(further_codes) AS c FROM samples) GROUP BY 1 ORDER BY 1"
        assert tables.rows(query) == [{"codec": "one", "n": 5}, {"codec": "two", "n": 5}]
        assert tables.rows("SELECT count(*) AS n FROM segments") == [{"n": 6}]


def changed_place(**changes: Any) -> Any:
    """Replaces what the first sample's row says of its first further codec."""

    def change(rows: list[Any]) -> list[Any]:
        places = [{**rows[0].further_codes[0], **changes}, *rows[0].further_codes[1:]]
        return [replace(rows[0], further_codes=places), *rows[1:]]

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (changed_place(crc32=1), "another CRC-32"),
        (changed_place(offset=512), "is at "),
        (changed_place(codec="three"), "has not the codes of the further codecs one, two"),
        (lambda rows: [replace(rows[0], further_codes=None), *rows[1:]], "which the manifest does not list"),
        (lambda rows: [replace(rows[0], further_codes=rows[0].further_codes[:1]), *rows[1:]], "has not the codes"),
    ],
)
def test_verify_finds_what_is_wrong_with_them(change: Any, word: str, tmp_path: Path) -> None:
    problems = list(verify_release(*small_release(tmp_path, codecs=CODECS, tables={"samples": change})))
    assert any(word in problem.what for problem in problems), problems


def test_a_shard_that_is_written_again_keeps_them(tmp_path: Path) -> None:
    store, release = small_release(tmp_path, codecs=CODECS)
    rows = [row for row in read_rows(store, release, SampleRow) if row.split == "train"]
    tar = tmp_path / rows[0].shard
    ((shard, again),) = write_shards(store, "valid", 0, packed_samples(store, tar, rows), 1 << 30)
    for row, now in zip(rows, again, strict=True):
        assert [one["codec"] for one in now.further_codes or ()] == list(CODECS)
        for place, there in zip(row.further_codes or (), now.further_codes or (), strict=True):
            assert there["crc32"] == place["crc32"]
            content = store.get_range(shard.shard, there["offset"], there["bytes"])
            assert content == store.get_range(row.shard, place["offset"], place["bytes"])
    damaged = bytearray(tar.read_bytes())
    assert rows[1].further_codes is not None
    damaged[rows[1].further_codes[1]["offset"] + 200] ^= 1
    tar.write_bytes(bytes(damaged))
    with pytest.raises(StorageError, match=f"codes of {rows[1].key} in .* are damaged"):
        list(packed_samples(store, tar, rows))


def test_a_purge_knows_the_codes_of_every_codec(tmp_path: Path) -> None:
    store, release = small_release(tmp_path, codecs=CODECS)
    person = Person()
    add_rows(store, release, person, {"r"})
    assert len(person.codes) == 3 * (1 + len(CODECS))
    left = further_codes(unit_row("r", 3000), *CODECS)[1]["codes"]
    store.put_if_absent("listings/left", left)
    _, findings = scan(store, person)
    assert {found.what for found in findings if found.path == "listings/left"} == {"codes"}
    (train,) = (file.path for file in release.files if file.path.startswith("shards/train/"))
    assert "codes" in {found.what for found in findings if found.path == train}
