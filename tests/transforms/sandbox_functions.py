"""What tests have the decoder process do in place of decoding."""

import ctypes
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from voxbeam.schemas.errors import StageError
from voxbeam.transforms.audio.sparse_file import AudioFile

Reply = tuple[dict[str, Any], Sequence[bytes]]


def add(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    return {"sum": arguments["a"] + arguments["b"]}, ()


def echo(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    return arguments, [b"x" * size for size in arguments.get("sizes", ())]


def refuse(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    raise StageError("reason", "message", "remedy")


def read(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    with file.open("rb") as content:
        content.seek(arguments.get("start", 0))
        return {}, [content.read(arguments.get("length", -1))]


def read_other(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    return {}, [Path(arguments["other"]).read_bytes()]


def write(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    Path(arguments["other"]).write_text("written")
    return {}, ()


def open_socket(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    socket.socket(getattr(socket, arguments["family"]), getattr(socket, arguments["type"]))
    return {}, ()


def run(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    subprocess.run(["/bin/true"], check=True)
    return {}, ()


def signal_parent(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    os.kill(arguments["pid"], 0)
    return {}, ()


def read_memory(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    return {}, [Path(f"/proc/{arguments['pid']}/environ").read_bytes()]


def environment(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    return {"names": sorted(os.environ)}, ()


def remember(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    seen = getattr(sys, "voxbeam_seen", 0)
    sys.voxbeam_seen = seen + 1  # type: ignore[attr-defined]
    return {"seen": seen}, ()


def sleep(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    time.sleep(arguments["seconds"])
    return {}, ()


def read_then_sleep(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    read(file, {"length": 1})
    return sleep(file, arguments)


def abort(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    os.abort()


def segfault(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    ctypes.string_at(0)
    return {}, ()


def allocate(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    return {"bytes": len(bytearray(arguments["bytes"]))}, ()


def make_noise(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    print("noise", flush=True)
    os.write(1, b"noise")
    return {}, ()


def lie(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    """Bytes that follow no format, on every descriptor that the process has."""
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, bytes.fromhex(arguments["hex"]))
        except OSError:
            continue
    os._exit(1)


def die(file: AudioFile, arguments: dict[str, Any]) -> Reply:
    os._exit(arguments["status"])


FUNCTIONS: dict[str, Callable[[AudioFile, dict[str, Any]], Reply]] = {
    function.__name__: function
    for function in (
        add, echo, refuse, read, read_other, write, open_socket, run, signal_parent, read_memory, environment, remember, sleep,
        read_then_sleep, abort, segfault, allocate, make_noise, lie, die,
    )
}  # fmt: skip
