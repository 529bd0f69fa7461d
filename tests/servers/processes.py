"""Server processes for tests: free ports, and programs that run for as long as a test needs them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
JAVA_OPENS = tuple(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.nio", "java.util", "sun.nio.ch"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Returns once it is true; fails the test, saying `what` was waited for, when that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}, in vain"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def java_libraries(cluster: str) -> Path:
    """Where the libraries of a cluster (spark, flink) lie; Maven fetches them once. Skips the test without Java or Maven."""
    if not shutil.which("java") or not shutil.which("mvn"):
        pytest.skip("needs Java and Maven")
    fetch = [str(DEPLOY / "libraries.sh"), cluster]
    return Path(subprocess.run(fetch, check=True, timeout=900, stdout=subprocess.PIPE, text=True).stdout.strip())
