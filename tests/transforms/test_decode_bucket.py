"""Decode from a bucket of a real S3 server, over a network that fails: the samples of a local file, of the parts they lie in."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from voxbeam.pipeline.steps.probe import probe
from voxbeam.schemas.config import DecodeConfig
from voxbeam.schemas.errors import StageError
from voxbeam.schemas.recording import Recording, SourceInfo
from voxbeam.schemas.unit import Unit
from voxbeam.storage.local_copies import open_sparse
from voxbeam.storage.store import Store, _open
from voxbeam.transforms.base import UnitState
from voxbeam.transforms.decode import DecodeAudio, estimate_sandboxed

from tests.conftest import FORMATS, Writer
from tests.servers.faulty_proxy import Faults, FaultyProxy, Request
from tests.servers.s3 import S3, s3_server

pytestmark = pytest.mark.s3
SPEECH = "s3://corpora/speech"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def answers(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Request]]:
    """What the server has answered to this process, a third of whose requests fail."""
    answered: list[Request] = []
    faults = Faults(refuse=0.1, cut=0.1, lose=0.1)
    with FaultyProxy(s3.url, faults, lambda request: answered.append(request) if request.status else None) as proxy:
        for name, value in s3.environment(proxy.url).items():
            monkeypatch.setenv(name, value)
        _open.cache_clear()
        yield answered
    _open.cache_clear()


def decoded(uri: str, start_ms: int, end_ms: int) -> UnitState:
    recording = Recording(recording="r", uri=uri)
    source = probe(recording, DecodeConfig()).source
    assert source is not None
    return window(recording, source, start_ms, end_ms)


def window(recording: Recording, source: SourceInfo, start_ms: int, end_ms: int) -> UnitState:
    unit = Unit(
        recording=recording, source=source, index=0, start_ms=start_ms, end_ms=end_ms, margin_ms=3000,
        fingerprint="f",
    )  # fmt: skip
    return DecodeAudio(DecodeConfig()).run_timed(UnitState(unit=unit))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_window_from_a_bucket_is_that_of_the_file(
    kind: str, answers: list[Request], tmp_path: Path, write_audio: Writer
) -> None:
    path = write_audio(tmp_path, kind)
    Store(SPEECH).put_file(f"{kind}/{path.name}", path)
    local, remote = decoded(str(path), 9000, 21_000), decoded(f"{SPEECH}/{kind}/{path.name}", 9000, 21_000)
    assert local.failure is None and remote.failure is None and remote.peak == local.peak
    np.testing.assert_array_equal(remote.require_audio().pcm16k, local.require_audio().pcm16k)
    np.testing.assert_array_equal(remote.require_audio().pcm24k, local.require_audio().pcm24k)


def test_a_window_of_a_long_flac_moves_few_bytes(answers: list[Request], tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    minute = np.random.default_rng(0).normal(0, 0.1, 48_000 * 60).astype(np.float32)
    with sf.SoundFile(path, "w", 48_000, 1, compression_level=0) as file:
        for _ in range(10):
            file.write(minute)
    Store(SPEECH).put_file(path.name, path)
    recording = Recording(recording="r", uri=f"{SPEECH}/{path.name}")
    source = probe(recording, DecodeConfig()).source
    assert source is not None
    answers.clear()
    assert window(recording, source, 270_000, 310_000).failure is None
    assert sum(answer.length for answer in answers) < path.stat().st_size / 4
    assert len(answers) < 50


def test_planning_reads_headers_only(answers: list[Request], tmp_path: Path) -> None:
    path = tmp_path / "header.wav"
    sf.write(path, np.zeros(16_000 * 600), 16_000)
    Store(SPEECH).put_file(path.name, path)
    answers.clear()
    found = probe(Recording(recording="r", uri=f"{SPEECH}/{path.name}"), DecodeConfig(), identify=False)
    assert found.source is not None and found.source.duration_ms == 600_000
    assert found.source.bytes == path.stat().st_size > 20 * sum(answer.length for answer in answers)


@pytest.mark.parametrize("identify", [True, False])
def test_a_broken_object_is_named_as_the_file_would_be(
    identify: bool, answers: list[Request], tmp_path: Path, write_audio: Writer
) -> None:
    path = write_audio(tmp_path, "wav16")
    path.write_bytes(path.read_bytes()[:5000])
    Store(SPEECH).put_file(f"broken/{path.name}", path)
    failures = [
        probe(Recording(recording="r", uri=uri), DecodeConfig(), identify=identify).failure
        for uri in (str(path), f"{SPEECH}/broken/{path.name}")
    ]
    assert failures[0] is not None and failures[0].reason == "truncated" and failures[1] == failures[0]


def test_an_object_that_is_replaced_after_probing(answers: list[Request], tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "flac")
    store = Store(SPEECH)
    store.replace("probed.flac", path.read_bytes())
    recording = Recording(recording="r", uri=store.uri("probed.flac"))
    source = probe(recording, DecodeConfig()).source
    assert source is not None and source.etag
    assert window(recording, source, 0, 9000).failure is None
    store.replace("probed.flac", write_audio(tmp_path, "flac", seconds=29.0).read_bytes())
    failure = window(recording, source, 0, 9000).failure
    assert failure is not None and failure.reason == "replaced" and failure.remedy


def test_an_object_that_is_replaced_meanwhile(answers: list[Request], tmp_path: Path, write_audio: Writer) -> None:
    path = write_audio(tmp_path, "opus")
    content = path.read_bytes()
    store = Store(SPEECH)
    store.replace("replaced.opus", content)
    with open_sparse(store.uri("replaced.opus")) as (local, fill):
        assert fill is not None

        def fill_too_late(start: int, length: int) -> None:
            store.replace("replaced.opus", content[::-1])
            fill(start, length)

        with pytest.raises(StageError) as caught:
            estimate_sandboxed(local, DecodeConfig(), fill_too_late)
    assert caught.value.reason == "replaced" and caught.value.remedy


def test_an_object_that_is_gone(answers: list[Request]) -> None:
    uri = f"{SPEECH}/nowhere.flac"
    source = SourceInfo(
        sha256="0", bytes=1, format="flac", sample_rate=16_000, channels=1, frames=16_000, duration_ms=1000, decoder="libsndfile"
    )
    work = window(Recording(recording="r", uri=uri), source, 0, 1000)
    assert work.failure is not None and work.failure.reason == "unexpected" and "nowhere.flac" in work.failure.error
    for identify in (True, False):
        failure = probe(Recording(recording="r", uri=uri), DecodeConfig(), identify=identify).failure
        assert failure is not None and failure.reason == "unreadable"
