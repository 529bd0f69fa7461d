"""What a build says of a release that it cannot only add to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voxbeam.pipeline.release_diff import Changes, changes_since
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.errors import ListingError
from voxbeam.schemas.fingerprint import READS, affects_units, fingerprint
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import read_rows
from voxbeam.storage.store import Store

from tests.pipeline.factories import small_release

CONFIG = CorpusConfig()
MODELS = {"tokenize": "a" * 64, "score": "b" * 64, "libraries": "torch=2.13.0 soxr=1.1.0"}


@pytest.fixture
def released(tmp_path: Path) -> tuple[Store, Release, list[Recording]]:
    """A release of the recordings q and r, and a listing that says the same of them."""
    store, release = small_release(tmp_path)
    listing = [Recording(recording=row.recording, uri=row.uri) for row in read_rows(store, release, RecordingRow)]
    made = replace(release, config=CONFIG.model_dump(mode="json"), models=MODELS, fingerprint=fingerprint(CONFIG, MODELS, 1))
    return store, made, listing


def changes(
    released: tuple[Store, Release, list[Recording]],
    config: dict[str, Any] | None = None,
    models: dict[str, str] | None = None,
    listing: list[Recording] | None = None,
    code: int = 1,
    **options: Any,
) -> Changes:
    store, release, recordings = released
    new, hashes = CorpusConfig.model_validate(config or {}), {**MODELS, **(models or {})}
    return changes_since(
        store, release, recordings if listing is None else listing, new, fingerprint(new, hashes, code), hashes, **options
    )


def test_nothing_changed(released: Any) -> None:
    assert not changes(released)
    assert not changes(released, {"decode": {"timeout_s": 7.0}, "listing": {"license": "CC0-1.0"}})
    assert not changes(released, listing=[]), "a listing of new recordings only adds"


def test_new_recordings_are_counted_and_no_change(released: Any) -> None:
    _, _, listing = released
    added = replace(listing[0], recording="another", uri="/audio/another.flac")
    found = changes(released, listing=[*listing, added])
    assert (bool(found), found.new, changes(released).new) == (False, 1, 0)


def test_what_is_left_out_again_for_certain_is_not_new(tmp_path: Path) -> None:
    """A copy, and what is left out on purpose; not one that could not be read, nor a copy whose file is another one now."""
    copy = tmp_path / "copy.wav"
    copy.write_bytes(b"1234")

    def left_out(rows: list[RecordingRow]) -> list[RecordingRow]:
        told = [("copy", "quarantined", "duplicate"), ("broken", "quarantined", "truncated"), ("secret", "excluded", "excluded")]
        why = {"stage": "probe", "error": "it is", "remedy": "look", "units": []}
        return rows + [
            replace(rows[0], recording=name, uri=str(copy), bytes=4, status=status, reason=reason, **why)
            for name, status, reason in told
        ]

    store, release = small_release(tmp_path / "corpus", tables={"recordings": left_out})
    listing = [Recording(recording=row.recording, uri=row.uri) for row in read_rows(store, release, RecordingRow)]

    def new(config: dict[str, Any], **options: Any) -> int:
        return changes((store, release, listing), config, **options).new

    assert len(listing) == 5 and new({"exclude": {"recordings": {"secret": "private"}}}) == 1
    assert new({}) == 2, "nothing excludes it any more"
    assert new({}, remove_unlisted=True) == 3, "what it is a copy of may go"
    copy.write_bytes(b"12345")
    assert new({}) == 3


def test_settings_and_models_are_named_with_old_and_new(released: Any) -> None:
    found = changes(
        released,
        {
            "diarize": {"threshold": 0.6},
            "link_speakers": {"threshold": 0.6},
            "pack": {"max_shard_mb": 64},
            "decode": {"timeout_s": 7.0},
            "device": "cuda",
        },
        {"tokenize": "c" * 64, "libraries": "torch=2.14.0 soxr=1.1.0"},
    )
    assert found.invalidates_units == (
        "device: 'cpu' → 'cuda'",
        "diarize.threshold: 0.22 → 0.6",
        f"model tokenize: {'a' * 12} → {'c' * 12}",
        "torch: 2.13.0 → 2.14.0",
    )
    assert found.repacks == ("link_speakers.threshold: 0.5 → 0.6", "pack.max_shard_mb: 1024 → 64")
    assert found.stages == tuple(READS) and "all stages run" in str(found) and "diarize.threshold: 0.22 → 0.6" in str(found)


def test_policy_repacks(released: Any) -> None:
    policy = {
        "filter": {"min_snr_db": 11.0},
        "purity": {"max_voice_distance": 0.5},
        "exclude": {"recordings": {"q": "no consent"}},
        "corrections": {"texts": {"r_00000000_00002000": "So it was."}},
    }
    found = changes(released, policy)
    assert found.invalidates_units == ()
    assert found.repacks == (
        "filter.min_snr_db: 10.0 → 11.0",
        "purity.max_voice_distance: 0.7 → 0.5",
        "exclude.recordings: 1 added (q)",
        "corrections.texts: 1 added (r_00000000_00002000)",
    )


def test_the_code_of_a_stage_is_named_when_nothing_else_differs(released: Any) -> None:
    assert changes(released, code=2).invalidates_units == ("the code of a stage",)


def test_other_packing_reuses_units(released: Any) -> None:
    found = changes(released, {"pack": {"max_shard_mb": 64}})
    assert (found.invalidates_units, found.repacks, found.unlisted) == ((), ("pack.max_shard_mb: 1024 → 64",), ())
    assert "Finished units are reused" in str(found)
    with pytest.raises(ListingError, match=r"1 recordings of release 000001 are not in the input \(e\.g\. r\).*max_shard_mb"):
        changes(released, {"pack": {"max_shard_mb": 64}}, listing=released[2][:1])


def test_recordings_taken_out_of_the_input_are_named_and_removed_on_request(released: Any) -> None:
    found = changes(released, listing=released[2][:1])
    assert not found and found.unlisted == ("r",)
    assert "(r): they stay in the corpus; --remove-unlisted" in str(found.unlisted_message("000001"))
    found = changes(released, listing=released[2][:1], remove_unlisted=True)
    assert found and "the next release is without them" in str(found.unlisted_message("000001"))
    assert not changes(released, remove_unlisted=True) and changes(released).unlisted_message("000001") is None


def test_another_license_is_noticed(released: Any) -> None:
    listing = [replace(recording, license="CC-BY-NC-4.0") for recording in released[2]]
    found = changes(released, listing=listing)
    assert found.listing == ("q: license None → 'CC-BY-NC-4.0'", "r: license None → 'CC-BY-NC-4.0'")
    assert found and "all shards and manifests are written again" in str(found)
    with pytest.raises(
        ListingError,
        match=r"1 recordings of release 000001 are not in the input .*r\).*q: license None → .CC-BY-NC-4.0.*reuses finished",
    ):
        changes(released, listing=listing[:1])


@pytest.mark.parametrize(
    ("key", "shapes"),
    [("segment.max_s", True), ("device", True), ("pack.keep_audio", True), ("decode.window_s", True), ("decode.timeout_s", False),
     ("pack.max_shard_mb", False), ("link_speakers.threshold", False), ("listing.license", False),
     ("filter.min_snr_db", False), ("purity.max_voice_distance", False)],
)  # fmt: skip
def test_which_settings_shape_units(key: str, shapes: bool) -> None:
    """The same answer as the fingerprint gives."""
    section, _, name = key.rpartition(".")
    value: Any = {
        "max_s": 25.0,
        "device": "cuda",
        "keep_audio": True,
        "threshold": 0.5,
        "license": "CC0-1.0",
        "min_snr_db": 30,
        "max_voice_distance": 0.5,
    }.get(name, 600)
    changed = CorpusConfig.model_validate({section: {name: value}} if section else {name: value})
    assert affects_units(key) is shapes
    assert (fingerprint(changed, MODELS, 1) != fingerprint(CONFIG, MODELS, 1)) is shapes
