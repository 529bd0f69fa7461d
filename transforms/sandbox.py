"""Sandbox: runs one trusted function on untrusted bytes in a process of its own, which may be killed.

Audio decoders are C code that reads whatever a crawler found. A crash, a decompression bomb or an endless loop there must cost
one recording, not the worker with its models: the child has limits on memory and time, and is started again when it dies.
"""

import pickle
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path
from queue import LifoQueue
from typing import IO, Any

from schemas.failure import StageError

_LENGTH = struct.Struct("<Q")


class Sandbox:
    """Child processes that run functions by name, each one at a time, within `memory_mb` of address space.

    There are as many as have been busy at once, at most `children`; further callers wait.
    """

    def __init__(self, memory_mb: int, children: int = 1) -> None:
        self.memory_mb, self.children = memory_mb, children
        self._idle: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(children):
            self._idle.put(None)

    def call(self, function: str, arguments: tuple[Any, ...], timeout_s: float) -> Any:
        """Result of `module:function` on the arguments.

        Raises what the function raised, or StageError when the child took too long, too much memory, or died.
        """
        child = self._idle.get()
        try:
            if child is None or child.poll() is not None:
                child = self._start()
            succeeded, result = _ask(child, function, arguments, timeout_s)
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
        command = [sys.executable, "-m", "transforms.sandbox", str(self.memory_mb)]
        root = Path(__file__).resolve().parent.parent
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)


def _ask(child: subprocess.Popen[bytes], function: str, arguments: tuple[Any, ...], timeout_s: float) -> tuple[bool, Any]:
    assert child.stdin is not None and child.stdout is not None
    expired = threading.Event()

    def kill() -> None:
        expired.set()
        child.kill()

    timer = threading.Timer(timeout_s, kill)
    timer.start()
    try:
        _send(child.stdin, (function, arguments))
        reply: tuple[bool, Any] = _receive(child.stdout)
    except (EOFError, BrokenPipeError) as error:
        _end(child)
        if expired.is_set():
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
    finally:
        timer.cancel()
        timer.join()
    if expired.is_set():  # killed just after it had answered
        _end(child)
    return reply


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.communicate()


def _send(stream: IO[bytes], message: Any) -> None:
    content = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return pickle.loads(content)


def _serve(memory_mb: int) -> None:
    """The child's loop: until the parent closes the pipe."""
    import importlib
    import os

    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a C library prints must not end up between the replies
    while True:
        try:
            name, arguments = _receive(requests)
        except EOFError:
            return
        module, _, function = name.partition(":")
        try:
            reply = (True, getattr(importlib.import_module(module), function)(*arguments))
        except MemoryError:
            reply = (
                False,
                StageError(
                    "decoder_memory",
                    f"decoding needs more than {memory_mb} MB",
                    "split or re-encode the recording, or raise decode.memory_mb",
                ),
            )
        except Exception as error:
            reply = (False, error)
        _send(replies, reply)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
