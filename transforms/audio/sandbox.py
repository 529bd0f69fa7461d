"""Sandbox: runs trusted functions on untrusted files in child processes, which may be killed.

Audio decoders are C code, and the files come from anywhere. A crash, a decompression bomb or an endless loop must cost one
recording, not the worker with its models. So a child has limits on memory and time, and is restarted after it dies. It has no
credentials: for a file in a bucket it requests the bytes that it needs from its parent, which fetches them.
"""

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import LifoQueue
from types import TracebackType
from typing import Any

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.sandbox_ipc import connect, receive, send

_CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_")


class Sandbox:
    """Child processes that run functions by name, each one at a time, within `memory_mb` of address space.

    A child is started when all others are busy, up to `children`; further callers wait for one.
    """

    def __init__(self, memory_mb: int, children: int = 1) -> None:
        self.memory_mb, self.children = memory_mb, children
        self._idle: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(children):
            self._idle.put(None)

    def call(
        self, function: str, arguments: tuple[Any, ...], timeout_s: float, fill: Callable[[int, int], None] | None = None
    ) -> Any:
        """Result of `module:function` on the arguments.

        Args:
            function: name as `module:function`; it runs in the child.
            arguments: its arguments, which are pickled.
            timeout_s: after this time the child is killed. Time in `fill` does not count.
            fill: `fill(start, length)` writes a range of bytes into the file when the child requests it.

        Raises:
            StageError: the child took too long or too much memory, or died.
            Exception: whatever the function or `fill` raised.
        """
        child = self._idle.get()
        try:
            if child is None or child.poll() is not None:
                child = self._start()
            succeeded, result = _call_child(child, function, arguments, timeout_s, fill)
        finally:
            self._idle.put(child)
        if succeeded:
            return result
        raise result

    def close(self) -> None:
        """Ends the children, each after its current call."""
        for child in [self._idle.get() for _ in range(self.children)]:
            if child is not None:
                _kill_child(child)
            self._idle.put(None)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "voxbeam.transforms.audio.sandbox", str(self.memory_mb)]
        harmless = {name: value for name, value in os.environ.items() if not name.startswith(_CREDENTIALS)}
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=harmless)


class _Deadline:
    """Kills a child that has used up its seconds. Only time inside `with` counts."""

    def __init__(self, child: subprocess.Popen[bytes], seconds: float) -> None:
        self.child, self.left = child, seconds
        self.expired = threading.Event()

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._timer = threading.Timer(self.left, self._kill)
        self._timer.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        self._timer.join()
        self.left -= time.monotonic() - self._started

    def _kill(self) -> None:
        self.expired.set()
        self.child.kill()


def _call_child(
    child: subprocess.Popen[bytes],
    function: str,
    arguments: tuple[Any, ...],
    timeout_s: float,
    fill: Callable[[int, int], None] | None,
) -> tuple[bool, Any]:
    deadline = _Deadline(child, timeout_s)
    kind, content = _roundtrip(child, (function, arguments), deadline, timeout_s)
    while kind == "fill":
        try:
            assert fill is not None, f"{function} requests bytes of a local file"
            fill(*content)
        except BaseException:
            _kill_child(child)  # it still waits for the bytes
            raise
        kind, content = _roundtrip(child, None, deadline, timeout_s)
    if deadline.expired.is_set():  # killed just after its answer
        _kill_child(child)
    return kind == "done", content


def _roundtrip(child: subprocess.Popen[bytes], message: Any, deadline: _Deadline, timeout_s: float) -> tuple[str, Any]:
    """Sends the child a message and waits for its answer: `done`, `failed`, or `fill` for a request of bytes."""
    assert child.stdin is not None and child.stdout is not None
    try:
        with deadline:
            send(child.stdin, message)
            answer: tuple[str, Any] = receive(child.stdout)
    except (EOFError, BrokenPipeError) as error:
        _kill_child(child)
        if deadline.expired.is_set():
            raise StageError(
                "decoder_timeout",
                f"the decoder was killed after {timeout_s:g} s",
                "re-encode the recording, or raise decode.timeout_s",
            ) from error
        raise StageError(
            "decoder_crash",
            f"the decoder process died (exit status {child.returncode})",
            "re-encode the recording, e.g. to FLAC",
        ) from error
    return answer


def _kill_child(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def _serve(memory_mb: int) -> None:
    """The child's loop, until the parent closes the pipe."""
    import importlib

    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a C library prints must not mix with the replies
    connect(requests, replies)
    while True:
        try:
            name, arguments = receive(requests)
        except EOFError:
            return
        module, _, function = name.partition(":")
        try:
            reply = ("done", getattr(importlib.import_module(module), function)(*arguments))
        except MemoryError:
            reply = (
                "failed",
                StageError(
                    "decoder_memory",
                    f"decoding needs more than {memory_mb} MB",
                    "split or re-encode the recording, or raise decode.memory_mb",
                ),
            )
        except Exception as error:
            reply = ("failed", error)
        send(replies, reply)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
