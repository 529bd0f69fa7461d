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
from typing import IO, Any

from schemas.failure import StageError

_LENGTH = struct.Struct("<Q")


class Sandbox:
    """A child process that runs functions by name, one at a time, within `memory_mb` of address space."""

    def __init__(self, memory_mb: int) -> None:
        self.memory_mb = memory_mb
        self._child: subprocess.Popen[bytes] | None = None
        self._one_at_a_time = threading.Lock()

    def call(self, function: str, arguments: tuple[Any, ...], timeout_s: float) -> Any:
        """Result of `module:function` on the arguments.

        Raises what the function raised, or StageError when the child took too long, too much memory, or died.
        """
        with self._one_at_a_time:
            succeeded, result = self._ask(function, arguments, timeout_s)
        if succeeded:
            return result
        raise result

    def _ask(self, function: str, arguments: tuple[Any, ...], timeout_s: float) -> tuple[bool, Any]:
        child = self._running_child()
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
            self.close()
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
            self.close()
        return reply

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _running_child(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-m", "transforms.sandbox", str(self.memory_mb)]
            root = Path(__file__).resolve().parent.parent
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)
        return self._child


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
