"""The sandbox: a decoder may hang, crash or eat memory, and costs one call."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    box = Sandbox(memory_mb=2048)
    yield box
    box.close()


def reason_of(box: Sandbox, function: str, *arguments: object, timeout_s: float = 20) -> str:
    with pytest.raises(StageError) as caught:
        box.call(function, arguments, timeout_s)
    assert caught.value.remedy
    return caught.value.reason


def works(box: Sandbox) -> bool:
    return bool(box.call("operator:add", (2, 3), 20) == 5)


def test_result_and_exception_come_back(sandbox: Sandbox, tmp_path: Path) -> None:
    assert works(sandbox)
    with pytest.raises(ZeroDivisionError):
        sandbox.call("operator:truediv", (1, 0), 20)
    with pytest.raises(FileNotFoundError):
        sandbox.call("os:stat", (tmp_path / "nowhere",), 20)
    assert works(sandbox)


def test_timeout_kills_and_recovers(sandbox: Sandbox) -> None:
    assert works(sandbox)
    started = time.perf_counter()
    assert reason_of(sandbox, "time:sleep", 60, timeout_s=0.3) == "decoder_timeout"
    assert time.perf_counter() - started < 10
    assert works(sandbox)


def test_crash_is_told_and_recovered(sandbox: Sandbox) -> None:
    for function in ("os:abort", "ctypes:string_at"):
        arguments = () if function == "os:abort" else (0,)
        assert reason_of(sandbox, function, *arguments) == "decoder_crash"
        assert works(sandbox)


def test_memory_limit(sandbox: Sandbox) -> None:
    assert reason_of(sandbox, "builtins:bytearray", 8 << 30) == "decoder_memory"
    assert works(sandbox)


def test_what_a_decoder_prints_does_not_get_between_replies(sandbox: Sandbox) -> None:
    sandbox.call("os:system", ("echo noise",), 20)
    sandbox.call("builtins:print", ("noise",), 20)
    assert works(sandbox)


def test_threads_take_turns(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda n: sandbox.call("operator:add", (n, n), 20), range(200)))
    assert sums == [2 * n for n in range(200)]


def test_a_child_that_died_between_calls_is_replaced(sandbox: Sandbox) -> None:
    assert works(sandbox)
    pid = sandbox.call("os:getpid", (), 20)
    assert sandbox.call("os:getpid", (), 20) == pid
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z":
        time.sleep(0.01)
    assert works(sandbox)


def test_two_children_work_at_once_and_no_more(tmp_path: Path) -> None:
    """A pipe opens for either side only when the other opens it too."""
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    box = Sandbox(memory_mb=2048, children=2)
    try:
        with ThreadPoolExecutor(8) as pool:
            sides = [pool.submit(box.call, "os:open", (pipe, flags), 60) for flags in (os.O_RDONLY, os.O_WRONLY)]
            assert all(isinstance(side.result(), int) for side in sides)
            pids = set(pool.map(lambda _: box.call("os:getpid", (), 20), range(50)))
        assert len(pids) <= 2
    finally:
        box.close()
