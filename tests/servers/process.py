"""What every test that starts processes needs: a free port, and waiting for something to come true."""

import socket
import time
from collections.abc import Callable


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns once it is true; fails the test, saying `what` was waited for, when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}, in vain"
        time.sleep(0.02)
