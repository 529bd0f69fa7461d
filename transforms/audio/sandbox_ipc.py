"""Messages between a worker and its decoder process: JSON, then raw arrays. Neither side executes what the other sends.

A decoder that a malicious file controls can send anything, so the worker unpickles nothing and reads no message above an
expected size.
"""

import json
import struct
from collections.abc import Sequence
from typing import IO, Any

_HEADER = struct.Struct("<II")  # bytes of JSON, number of arrays
_LENGTH = struct.Struct("<Q")
MAX_JSON = 1 << 20
MAX_ARRAYS = 16

Message = dict[str, Any]


class ProtocolError(ValueError):
    """A message that does not follow the format."""


def send(stream: IO[bytes], message: Message, arrays: Sequence[memoryview | bytes] = ()) -> None:
    """Writes a message and its arrays."""
    text = json.dumps(message).encode()
    stream.write(_HEADER.pack(len(text), len(arrays)) + text)
    for array in arrays:
        stream.write(_LENGTH.pack(len(array)))
        stream.write(array)
    stream.flush()


def receive(stream: IO[bytes], max_array_bytes: int) -> tuple[Message, list[bytes]]:
    """The next message. Raises EOFError at the end of the stream, ProtocolError for a wrong format or size."""
    size, count = _HEADER.unpack(_exactly(stream, _HEADER.size))
    if size > MAX_JSON or count > MAX_ARRAYS:
        raise ProtocolError(f"a message of {size} bytes and {count} arrays exceeds the limits")
    text = _exactly(stream, size)
    arrays: list[bytes] = []
    for _ in range(count):
        (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
        if length > max_array_bytes:
            raise ProtocolError(f"an array of {length} bytes exceeds {max_array_bytes}")
        arrays.append(_exactly(stream, length))
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a message is not JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message is not a JSON object")
    return message, arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content
