"""Pipe: messages between the sandbox and its child, which has neither credentials nor the network and asks for what it lacks."""

import pickle
import struct
from typing import IO, Any

_LENGTH = struct.Struct("<Q")
_to_parent: tuple[IO[bytes], IO[bytes]] | None = None


def send(stream: IO[bytes], message: Any) -> None:
    """Writes a message."""
    content = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message. Raises EOFError when there will be none."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return pickle.loads(content)


def connect(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Makes this process the child."""
    global _to_parent
    _to_parent = (requests, replies)


def ask_parent_to_fill(start: int, length: int) -> None:
    """In the child: returns when the parent has brought `length` bytes from `start` into the file that is being decoded."""
    if _to_parent is None:
        raise RuntimeError("only the sandbox's child has a parent to ask")
    requests, replies = _to_parent
    send(replies, ("fill", (start, length)))
    receive(requests)
