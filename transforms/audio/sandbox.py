"""Sandbox: runs listed functions on untrusted files in a child process, which may be killed.

Audio decoders are C code, and the files come from anywhere. A crash, a decompression bomb or an endless loop must cost one
recording, not the worker with its models. A decoder that a malicious file controls must not reach anything: the process has no
credentials, no network and no other files (`confinement.py`), its memory and time are limited, and its replies are data. For a
file in a bucket it requests the bytes that it needs, and the worker fetches them.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import LifoQueue
from types import TracebackType

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.confinement import available
from voxbeam.transforms.audio.sandbox_ipc import Message, ProtocolError, receive, send

log = logging.getLogger(__name__)
_FUNCTIONS = "voxbeam.transforms.audio.decoder_process"
# Variables that the decoder's libraries may need. Credentials have many names, so no other variable is passed on.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_PREFIXES = ("OMP_", "MKL_", "OPENBLAS_", "ONEDNN_")
Fill = Callable[[int, int], None]


class Sandbox:
    """Decoder processes, each with one call at a time, within `memory_mb` of address space.

    A process is started when all others are busy, up to `children`; further callers wait for one. `functions` names the module
    whose `FUNCTIONS` may be called.
    """

    def __init__(self, memory_mb: int, children: int = 1, functions: str = _FUNCTIONS) -> None:
        self.memory_mb, self.children, self.functions = memory_mb, children, functions
        self._idle: LifoQueue[subprocess.Popen[bytes] | None] = LifoQueue()
        for _ in range(children):
            self._idle.put(None)
        can = available()
        if not (can.files and can.network):
            log.warning("decoders can access files and the network here; only Linux with Landlock and seccomp prevents it")

    def call(
        self, function: str, path: Path, arguments: Message, timeout_s: float, fill: Fill | None = None
    ) -> tuple[Message, list[bytes]]:
        """Result of a function on a file: a message and its arrays, which the caller must check.

        Args:
            function: a name in `FUNCTIONS`.
            path: the file.
            arguments: of the function, as JSON.
            timeout_s: after this time the process is killed. Time in `fill` does not count.
            fill: for a file that is empty at first; `fill(start, length)` writes a range of bytes when the function needs it.

        Raises:
            StageError: the function raised it, took too long or too much memory, or the process died.
            Exception: whatever `fill` raised.
        """
        child = self._idle.get()
        try:
            if child is None or child.poll() is not None:
                child = self._start()
            request = {"function": function, "path": str(path.absolute()), "sparse": fill is not None, "arguments": arguments}
            return self._call_child(child, request, timeout_s, fill)
        finally:
            self._idle.put(child)

    def close(self) -> None:
        """Ends the processes, each after its current call."""
        for child in [self._idle.get() for _ in range(self.children)]:
            if child is not None:
                _end(child)
            self._idle.put(None)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "voxbeam.transforms.audio.decoder_process", str(self.memory_mb), self.functions]
        passed = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith(_PREFIXES)}
        passed |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # it forks, and threads do not survive a fork
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=passed, start_new_session=True)

    def _call_child(
        self, child: subprocess.Popen[bytes], request: Message, timeout_s: float, fill: Fill | None
    ) -> tuple[Message, list[bytes]]:
        deadline = _Deadline(child, timeout_s)
        reply, arrays = self._roundtrip(child, request, deadline)
        while fill is not None and "fill" in reply:
            try:
                start, length = map(int, reply["fill"])
                fill(start, length)
            except BaseException:
                _end(child)  # it still waits for the bytes
                raise
            reply, arrays = self._roundtrip(child, {"filled": True}, deadline)
        if deadline.expired.is_set():  # killed just after its answer
            _end(child)
        if isinstance(reply.get("done"), dict):
            return reply["done"], arrays
        failed = reply.get("failed")
        if isinstance(failed, list) and len(failed) == 3 and all(isinstance(text, str) for text in failed):
            raise StageError(*(text[:1000] for text in failed))
        if "out_of_memory" in reply:
            raise StageError(
                "decoder_memory",
                f"decoding needs more than {self.memory_mb} MB",
                "split or re-encode the recording, or raise decode.memory_mb",
            )
        raise StageError(
            "decoder_error",
            f"the decoder failed: {str(reply.get('unexpected', 'no reason given'))[:1000]}",
            "re-encode the recording, e.g. to FLAC, or remove it from the input",
        )

    def _roundtrip(self, child: subprocess.Popen[bytes], message: Message, deadline: "_Deadline") -> tuple[Message, list[bytes]]:
        """Sends a message and waits for the reply."""
        assert child.stdin is not None and child.stdout is not None
        try:
            with deadline:
                send(child.stdin, message)
                return receive(child.stdout, self.memory_mb << 20)
        except (EOFError, BrokenPipeError, ProtocolError) as error:
            _end(child)
            if deadline.expired.is_set():
                raise StageError(
                    "decoder_timeout",
                    f"the decoder was killed after {deadline.timeout_s:g} s",
                    "re-encode the recording, or raise decode.timeout_s",
                ) from error
            raise StageError(
                "decoder_crash",
                f"the decoder process died (exit status {child.returncode})",
                "re-encode the recording, e.g. to FLAC",
            ) from error


class _Deadline:
    """Kills a child that has used up its seconds. Only time inside `with` counts."""

    def __init__(self, child: subprocess.Popen[bytes], timeout_s: float) -> None:
        self.child, self.timeout_s, self.left = child, timeout_s, timeout_s
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
        _kill(self.child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kills the process and its forks, which form a session."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        child.kill()


def _end(child: subprocess.Popen[bytes]) -> None:
    _kill(child)
    child.communicate()
