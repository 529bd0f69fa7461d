"""Sandbox: runs one trusted function on untrusted bytes in a process of its own, which may be killed.

Audio decoders are C code that reads whatever a crawler found. A crash, a decompression bomb or an endless loop there must cost
one recording, not the worker with its models: the child has limits on memory and time, and is started again when it dies.
It knows no credentials: where a file lies in a bucket, it asks for the bytes that it needs, and the parent fetches them.
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

    There are as many as have been busy at once, at most `children`; further callers wait.
    """

    def __init__(self, memory_mb: int, children: int = 1) -> None:
        self.memory_mb, self.children = memory_mb, children
        self._idle: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(children):
            self._idle.put(None)

    def call(
        self, function: str, arguments: tuple[Any, ...], timeout_s: float, fill: Callable[[int, int], None] | None = None
    ) -> Any:
        """Result of `module:function` on the arguments; `fill(start, length)` is done for the child when it asks for it.

        Raises what the function or `fill` raised, or StageError when the child took too long, too much memory, or died. The
        time that `fill` takes is not the child's.
        """
        child = self._idle.get()
        try:
            if child is None or child.poll() is not None:
                child = self._start()
            succeeded, result = _ask(child, function, arguments, timeout_s, fill)
        finally:
            self._idle.put(child)
        if succeeded:
            return result
        raise result

    def close(self) -> None:
        """Ends the children, each when it has answered."""
        for child in [self._idle.get() for _ in range(self.children)]:
            if child is not None:
                _end(child)
            self._idle.put(None)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "voxbeam.transforms.audio.sandbox", str(self.memory_mb)]
        harmless = {name: value for name, value in os.environ.items() if not name.startswith(_CREDENTIALS)}
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=harmless)


class _Clock:
    """Kills a child that has used up its seconds; runs only inside `with`."""

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


def _ask(
    child: subprocess.Popen[bytes],
    function: str,
    arguments: tuple[Any, ...],
    timeout_s: float,
    fill: Callable[[int, int], None] | None,
) -> tuple[bool, Any]:
    clock = _Clock(child, timeout_s)
    kind, content = _exchange(child, (function, arguments), clock, timeout_s)
    while kind == "fill":
        try:
            assert fill is not None, f"{function} asks for bytes of a file that is whole"
            fill(*content)
        except BaseException:
            _end(child)  # it waits in the middle of its work
            raise
        kind, content = _exchange(child, None, clock, timeout_s)
    if clock.expired.is_set():  # killed just after it had answered
        _end(child)
    return kind == "done", content


def _exchange(child: subprocess.Popen[bytes], message: Any, clock: _Clock, timeout_s: float) -> tuple[str, Any]:
    """Sends the child a message and waits for its answer: `done`, `failed`, or `fill` when it needs bytes first."""
    assert child.stdin is not None and child.stdout is not None
    try:
        with clock:
            send(child.stdin, message)
            answer: tuple[str, Any] = receive(child.stdout)
    except (EOFError, BrokenPipeError) as error:
        _end(child)
        if clock.expired.is_set():
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


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def _serve(memory_mb: int) -> None:
    """The child's loop: until the parent closes the pipe."""
    import importlib

    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a C library prints must not end up between the replies
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
