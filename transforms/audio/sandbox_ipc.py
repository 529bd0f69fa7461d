"""Messages between the sandbox and its child process. The child has no credentials, and requests bytes of a bucket's object."""

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
    """The next message. Raises EOFError at the end of the stream."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    content = stream.read(length)
    if len(content) < length:
        raise EOFError
    return pickle.loads(content)


def connect(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Makes this process the child, with these streams from and to its parent."""
    global _to_parent
    _to_parent = (requests, replies)


def request_range(start: int, length: int) -> None:
    """In the child: has the parent write `length` bytes from `start` into the file that is being decoded, and waits for it."""
    if _to_parent is None:
        raise RuntimeError("request_range works in the sandbox's child process only")
    requests, replies = _to_parent
    send(replies, ("fill", (start, length)))
    receive(requests)
