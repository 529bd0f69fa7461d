"""The decoder process: reads untrusted audio for a worker, one fork for every call.

`python -m voxbeam.transforms.audio.decoder_process MEMORY_MB FUNCTIONS` imports the libraries once, then forks for each request.
The fork gives up the access that it does not need (`confinement.py`), calls one of the functions that the module FUNCTIONS lists,
replies and ends. So a file that corrupts a library cannot affect the next file.
"""

import importlib
import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, NoReturn

import numpy as np

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.checks import AudioInfo, Limits
from voxbeam.transforms.audio.confinement import confine
from voxbeam.transforms.audio.file import estimate_file, probe_file
from voxbeam.transforms.audio.sandbox_ipc import Message, receive, send
from voxbeam.transforms.audio.sparse_file import AudioFile, SparseFile
from voxbeam.transforms.audio.window import decode

Result = tuple[Message, Sequence[bytes | memoryview]]
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/dev/urandom", "/dev/null")


def _probe(file: AudioFile, arguments: Message) -> Result:
    return asdict(probe_file(file, Limits(**arguments["limits"]))), ()


def _estimate(file: AudioFile, arguments: Message) -> Result:
    return asdict(estimate_file(file, Limits(**arguments["limits"]))), ()


def _decode(file: AudioFile, arguments: Message) -> Result:
    window = arguments["start_ms"], arguments["end_ms"], arguments["margin_ms"], arguments["track"]
    audio, peak = decode(file, AudioInfo(**arguments["info"]), *window)
    header = {"start_ms": audio.start_ms, "end_ms": audio.end_ms, "peak": peak}
    arrays = audio.pcm16k, audio.pcm24k, np.array(audio.repeats_ms, np.int32).reshape(-1)
    return header, [np.ascontiguousarray(array).view(np.uint8).data for array in arrays]


FUNCTIONS: dict[str, Callable[[AudioFile, Message], Result]] = {"probe": _probe, "estimate": _estimate, "decode": _decode}


def main() -> None:
    """Serves requests until the worker closes the pipe, or a fork fails."""
    memory_mb, functions = int(sys.argv[1]), importlib.import_module(sys.argv[2]).FUNCTIONS
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a C library prints must not mix with the replies
    while True:
        try:
            request, _ = receive(requests, 0)
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            _serve(request, functions, memory_mb, requests, replies)
        _, status = os.waitpid(child, 0)
        if status != 0:
            sys.exit(os.waitstatus_to_exitcode(status) & 0x7F or 1)


def _serve(
    request: Message,
    functions: dict[str, Callable[[AudioFile, Message], Result]],
    memory_mb: int,
    requests: IO[bytes],
    replies: IO[bytes],
) -> NoReturn:
    """Answers one request, in the fork."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    path = Path(request["path"])
    confine([path, *map(Path, (sys.prefix, sys.base_prefix, *sys.path, *_LIBRARIES))])
    file = SparseFile(path, partial(_request_range, requests, replies)) if request["sparse"] else path
    reply: Result
    try:
        header, arrays = functions[request["function"]](file, request["arguments"])
        reply = {"done": header}, arrays
    except StageError as error:
        reply = {"failed": [error.reason, error.message, error.remedy]}, ()
    except MemoryError:
        reply = {"out_of_memory": True}, ()
    except BaseException as error:
        reply = {"unexpected": f"{type(error).__name__}: {error}"[:1000]}, ()
    send(replies, *reply)
    os._exit(0)


def _request_range(requests: IO[bytes], replies: IO[bytes], start: int, length: int) -> None:
    """Has the worker write `length` bytes from `start` into the file that is being decoded, and waits for it."""
    send(replies, {"fill": [start, length]})
    receive(requests, 0)


if __name__ == "__main__":
    main()
