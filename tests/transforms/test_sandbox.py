"""The sandbox: a decoder may hang, crash, eat memory or be taken over, and costs one call."""

import os
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio import confinement
from voxbeam.transforms.audio.sandbox import Sandbox

pytestmark = pytest.mark.slow

FUNCTIONS = "tests.transforms.sandbox_functions"
ROOT = Path(__file__).resolve().parents[2]
needs_landlock = pytest.mark.skipif(not confinement.available().files, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(not confinement.available().network, reason="no seccomp filter for this processor")


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    """The process is started with a small environment; the functions of this test must be found."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), before]))
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    box = Sandbox(memory_mb=2048, functions=FUNCTIONS)
    yield box
    box.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.wav").write_bytes(b"its own file")
    return tmp_path / "own.wav"


def reason_of(box: Sandbox, function: str, file: Path, timeout_s: float = 20, **arguments: Any) -> str:
    with pytest.raises(StageError) as caught:
        box.call(function, file, arguments, timeout_s)
    assert caught.value.remedy
    return caught.value.reason


def works(box: Sandbox, file: Path) -> bool:
    return box.call("add", file, {"a": 2, "b": 3}, 20) == ({"sum": 5}, [])


def test_results_and_errors_come_back(sandbox: Sandbox, file: Path) -> None:
    assert sandbox.call("echo", file, {"text": "é", "sizes": [0, 3, 70_000]}, 20)[1] == [b"", b"xxx", b"x" * 70_000]
    assert sandbox.call("read", file, {}, 20) == ({}, [b"its own file"])
    with pytest.raises(StageError) as caught:
        sandbox.call("refuse", file, {}, 20)
    assert (caught.value.reason, caught.value.message, caught.value.remedy) == ("reason", "message", "remedy")
    assert reason_of(sandbox, "add", file) == "decoder_error"  # a KeyError there, whatever its type
    assert reason_of(sandbox, "not_listed", file) == "decoder_error"
    assert works(sandbox, file)


def test_timeout_kills_and_recovers(sandbox: Sandbox, file: Path) -> None:
    assert works(sandbox, file)
    started = time.perf_counter()
    assert reason_of(sandbox, "sleep", file, timeout_s=0.3, seconds=60) == "decoder_timeout"
    assert time.perf_counter() - started < 10
    assert works(sandbox, file)


@pytest.mark.parametrize("function", ["abort", "segfault"])
def test_a_crash_costs_one_call(function: str, sandbox: Sandbox, file: Path) -> None:
    assert reason_of(sandbox, function, file) == "decoder_crash"
    assert works(sandbox, file)


def test_memory_limit(sandbox: Sandbox, file: Path) -> None:
    assert reason_of(sandbox, "allocate", file, bytes=8 << 30) == "decoder_memory"
    assert works(sandbox, file)


def test_what_a_decoder_prints_does_not_get_between_replies(sandbox: Sandbox, file: Path) -> None:
    assert sandbox.call("make_noise", file, {}, 20) == ({}, [])
    assert works(sandbox, file)


def test_threads_take_turns(sandbox: Sandbox, file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: sandbox.call("add", file, {"a": n, "b": n}, 20), range(100)))
    assert [reply["sum"] for reply, _ in replies] == [2 * n for n in range(100)]


def test_nothing_is_left_of_a_call(sandbox: Sandbox, file: Path) -> None:
    """What one file does to the process cannot reach the next."""
    assert [sandbox.call("remember", file, {}, 20)[0]["seen"] for _ in range(3)] == [0, 0, 0]


def test_two_processes_work_at_once_and_no_more(file: Path) -> None:
    box = Sandbox(memory_mb=2048, children=2, functions=FUNCTIONS)
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: works(box, file), range(2)))
            started = time.perf_counter()
            list(pool.map(lambda _: box.call("sleep", file, {"seconds": 2}, 30), range(2)))
        assert time.perf_counter() - started < 3.9
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _: works(box, file), range(20)))
        assert box._idle.qsize() == 2
    finally:
        box.close()


@needs_landlock
def test_no_file_but_its_own(sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("credentials")
    for other in (tmp_path / "secret", Path("/etc/passwd"), Path("/proc/1/environ"), Path.home() / ".bashrc"):
        assert reason_of(sandbox, "read_other", file, other=str(other)) == "decoder_error"
    assert reason_of(sandbox, "write", file, other=str(tmp_path / "new")) == "decoder_error"
    assert reason_of(sandbox, "write", file, other=str(file)) == "decoder_error"
    assert not (tmp_path / "new").exists() and file.read_bytes() == b"its own file"


@needs_landlock
def test_its_file_may_lie_behind_a_link(sandbox: Sandbox, file: Path, tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(file)
    assert sandbox.call("read", tmp_path / "link.wav", {}, 20)[1] == [b"its own file"]


@needs_seccomp
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_no_network(family: str, kind: str, sandbox: Sandbox, file: Path) -> None:
    assert reason_of(sandbox, "open_socket", file, family=family, type=kind) == "decoder_error"


@needs_seccomp
def test_no_other_process(sandbox: Sandbox, file: Path) -> None:
    assert reason_of(sandbox, "run", file) == "decoder_error"
    assert reason_of(sandbox, "signal_parent", file, pid=os.getpid()) == "decoder_error"
    assert reason_of(sandbox, "read_memory", file, pid=os.getpid()) == "decoder_error"


def test_no_secrets_in_its_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "GITHUB_TOKEN", "DATABASE_URL", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, "secret")
    box = Sandbox(memory_mb=2048, functions=FUNCTIONS)
    try:
        names = box.call("environment", file, {}, 20)[0]["names"]
    finally:
        box.close()
    assert "PYTHONPATH" in names
    assert not any(word in name for name in names for word in ("AWS", "TOKEN", "SECRET", "DATABASE", "GOOGLE"))


class Exploit:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/voxbeam-exploited",)


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Exploit()), b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x05\0\0\0\1\0\0\0{}   " + b"\xff" * 8],
)
def test_a_reply_is_data(content: bytes, sandbox: Sandbox, file: Path) -> None:
    assert reason_of(sandbox, "lie", file, hex=content.hex()) == "decoder_crash"
    assert not Path("/tmp/voxbeam-exploited").exists()
    assert works(sandbox, file)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_reply_is_a_result_or_a_stage_error(content: bytes, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "own.wav").touch()
    with pytest.raises(StageError):
        sandbox.call("lie", tmp_path / "own.wav", {"hex": content.hex()}, 20)


def test_bytes_are_fetched_when_they_are_asked_for(sandbox: Sandbox, tmp_path: Path) -> None:
    """The time of the fetches does not count; an error of a fetch is raised as it is."""
    path = tmp_path / "sparse"
    path.write_bytes(bytes(1000))
    asked: list[tuple[int, int]] = []

    def fill(start: int, length: int) -> None:
        asked.append((start, length))
        time.sleep(6)
        path.write_bytes(b"y" * 1000)

    assert works(sandbox, path)  # the process is there
    assert sandbox.call("read", path, {}, 5, fill)[1] == [b"y" * 1000]
    assert asked == [(0, 1000)]

    def never(start: int, length: int) -> None:
        raise PermissionError("the store says no")

    with pytest.raises(PermissionError, match="the store says no"):
        sandbox.call("read", path, {}, 20, never)
    with pytest.raises(StageError) as caught:
        sandbox.call("read_then_sleep", path, {"seconds": 60}, 0.5, lambda start, length: None)
    assert caught.value.reason == "decoder_timeout"
