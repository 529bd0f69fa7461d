"""A unit begins with what an earlier one of the same window knows: only stages that differ run, and the bytes are the same."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voxbeam.corpus import Corpus
from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.pipeline.verify import verify, verify_release
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.fingerprint import READS, SOUND, stage_fingerprints
from voxbeam.storage.cache import model_hash
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store
from voxbeam.transforms.chain import STAGES
from voxbeam.transforms.decode import DecodeAudio
from voxbeam.transforms.reuse import _COST, _FILL, stages_to_run

from tests.codecs import with_moved
from tests.pipeline.factories import contents
from tests.pipeline.test_build import copy_speakers, run_build

MODELS = {"libraries": "soxr=1 torch=2 onnxruntime=1 phonemizer=3"}
CUT = {"decode", "diarize", "segment", "purity"}
HEARD = {"decode", "transcribe", "score", "tokenize"}


def run_of(settings: dict[str, Any], models: dict[str, str] | None = None, code: int = 7) -> set[str]:
    before = stage_fingerprints(CorpusConfig(), MODELS, 7)
    after = stage_fingerprints(CorpusConfig.model_validate(settings), {**MODELS, **(models or {})}, code)
    return set(stages_to_run(before, after))


@pytest.mark.parametrize(
    ("settings", "models", "run"),
    [
        ({}, {}, set()),
        ({"filter": {"min_snr_db": 1.0}, "exclude": {"recordings": {"a": "b"}}}, {}, set()),
        ({"phonemize": {"voice": "de"}}, {}, {"phonemize"}),
        ({}, {"phonemize.espeak": "2"}, {"phonemize"}),
        ({}, {"libraries": "soxr=1 torch=2 onnxruntime=1 phonemizer=4"}, {"phonemize"}),
        ({"transcribe": {"model": "other"}}, {"transcribe": "x"}, {"decode", "transcribe", "phonemize"}),
        ({"tokenize": {"codec": "other"}}, {"tokenize": "x"}, {"decode", "tokenize"}),
        ({"codecs": {"b": {}, "a": {}}}, {"tokenize.a": "x", "tokenize.b": "y"}, {"decode", "tokenize.a", "tokenize.b"}),
        ({"score": {"dnsmos_every": 1}}, {}, {"decode", "score"}),
        ({"pack": {"keep_audio": True}}, {}, {"decode", "sound"}),
        ({"segment": {"max_s": 20.0}}, {}, set(READS)),
        ({"diarize": {"threshold": 0.6}}, {"a model that no stage is known to use": "x"}, set(READS)),
        ({}, {"libraries": "soxr=1 torch=3 onnxruntime=1 phonemizer=3"}, set(READS)),
        ({"device": "cuda"}, {}, set(READS)),
    ],
)
def test_which_stages_run(settings: dict[str, Any], models: dict[str, str], run: set[str]) -> None:
    assert run_of(settings, models) == run


def test_code_of_one_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxbeam.schemas.fingerprint._CODE", {"purity": (8,), "score": (9,)})
    assert run_of({}, code=8) == CUT, "what it needs runs with it, and what others made of the same segments stays"
    assert run_of({}, code=9) == {*CUT, "score"}
    assert run_of({}, code=10) == set(READS), "a version that names no stage"


def test_every_stage_has_its_place() -> None:
    assert list(STAGES) == [stage for stage in READS if stage != SOUND]
    assert set(_FILL) == set(STAGES) - {"decode", "diarize", "segment"} and set(_COST) == set(READS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven seconds, built once."""
    folder = tmp_path_factory.mktemp("base")
    run_build(copy_speakers(folder / "in", "kennedy"), folder / "out")
    return folder


@pytest.mark.build
@pytest.mark.parametrize(
    ("settings", "run", "workers"),
    [
        ({"transcribe": {"padding_s": 8.0}}, {"decode", "transcribe", "phonemize"}, 1),
        ({"tokenize": {"sha256": "embedded"}}, {"decode", "tokenize"}, 2),
        ({"pack": {"keep_audio": True}, "score": {"dnsmos_every": 1}}, {"decode", "score"}, 1),
        ({"segment": {"max_s": 6.0, "target_max_s": 5.0, "target_min_s": 3.0}}, CUT | HEARD | {"phonemize"}, 1),
    ],
)
def test_only_the_stages_that_differ_run(
    settings: dict[str, Any], run: set[str], workers: int, base: Path, tmp_path: Path
) -> None:
    if "tokenize" in settings:
        settings = {"tokenize": {"sha256": model_hash(str(EMBEDDED_WEIGHTS))}}
    shutil.copytree(base / "out", tmp_path / "out")
    config = CorpusConfig.model_validate(settings)
    outcome = run_build(base / "in", tmp_path / "out", f"--direct_num_workers={workers}", config=config)
    assert set(outcome.progress.seconds) == run and outcome.progress.units == 1 and outcome.progress.remaining_ms == 0
    assert set(outcome.changes.stages) - {"sound"} == run
    store = Store(str(tmp_path / "out"))
    found = latest_release(store)
    assert found is not None and found.number == 2 and list(verify_release(store, found)) == []
    whole = run_build(base / "in", tmp_path / "whole", config=config)
    assert set(whole.progress.seconds) == CUT | HEARD | {"phonemize"}
    assert contents(outcome.release) == contents(whole.release)
    assert {path for path, _ in Store(str(tmp_path / "whole")).walk("units/")} < {path for path, _ in store.walk("units/")}
    back = run_build(base / "in", tmp_path / "out")
    assert (back.progress.units, back.progress.reused_units, dict(back.progress.seconds)) == (0, 1, {}), "the first one is there"


@pytest.mark.build
def test_a_further_codec_redoes_nothing_else(base: Path, tmp_path: Path) -> None:
    """Added to a corpus, by two workers, it gives what a build from nothing gives; taken out, what was before it."""
    first = latest_release(Store(str(base / "out")))
    config = CorpusConfig.model_validate(with_moved(tmp_path))
    shutil.copytree(base / "out", tmp_path / "out")
    outcome = run_build(base / "in", tmp_path / "out", "--direct_num_workers=2", config=config)
    assert set(outcome.progress.seconds) == {"decode", "tokenize.moved"} == set(outcome.changes.stages)
    assert "these stages run again: decode, tokenize.moved" in str(outcome.changes)
    whole = run_build(base / "in", tmp_path / "whole", config=config)
    assert set(whole.progress.seconds) == CUT | HEARD | {"phonemize", "tokenize.moved"}
    assert contents(outcome.release) == contents(whole.release)
    assert verify(str(tmp_path / "whole"), rederive=1) == []
    one, other = (Corpus(str(tmp_path / "out"), codec_name=name) for name in (None, "moved"))
    (key,) = one.samples(columns=["key"]).read_all()["key"].to_pylist()
    np.testing.assert_array_equal(other.codes(key), (one.codes(key) + 1) % 1024)
    np.testing.assert_array_equal(other.audio(key), one.audio(key))
    back = run_build(base / "in", tmp_path / "whole")
    assert not back.progress.seconds and back.progress.units == 1, "the new unit takes all that it holds from the old one"
    assert "No stage runs again: new units take what those of before hold" in str(back.changes)
    assert contents(back.release) == contents(first)


@pytest.mark.build
def test_another_phonemizer_hears_no_sound(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("sound was decoded")

    shutil.copytree(base / "out", tmp_path / "out")
    monkeypatch.setattr("voxbeam.pipeline.model_fingerprints.phonemizer_version", lambda: "0.0")
    monkeypatch.setattr(DecodeAudio, "run", never)
    outcome = run_build(base / "in", tmp_path / "out")
    assert outcome.committed and set(outcome.progress.seconds) == {"phonemize"}
    assert outcome.changes.stages == ("phonemize",)
    first = latest_release(Store(str(base / "out")))
    assert first is not None and outcome.release is not None
    shards = [{file.rows for file in release.files_of_kind("shard")} for release in (first, outcome.release)]
    assert shards[0] == shards[1] and first.fingerprint != outcome.release.fingerprint
