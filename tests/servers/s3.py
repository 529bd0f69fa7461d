"""A real S3 server for tests: versitygw over a temporary folder, found on PATH or where `go install` puts it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.processes import free_port, listens, wait_for

KEY, SECRET = "voxbeam-tests", "not-a-secret-at-all"


@dataclass(frozen=True, kw_only=True)
class S3:
    """A running server with one bucket, `corpora`."""

    url: str
    folder: Path
    """where the server keeps its objects, as files"""

    def environment(self, url: str | None = None) -> dict[str, str]:
        """What a client needs to know, as environment variables."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }


def server_program() -> str | None:
    """Path of versitygw, if it is installed (`.ci/run` does)."""
    return shutil.which("versitygw") or shutil.which("versitygw", path=str(Path.home() / "go" / "bin"))


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """Starts the server; skips the test where there is none."""
    program = server_program()
    if program is None:
        pytest.skip("versitygw is not installed (go install github.com/versity/versitygw/cmd/versitygw)")
    port = free_port()
    (folder / "corpora").mkdir(parents=True)
    process = subprocess.Popen(
        [program, "--port", f"127.0.0.1:{port}", "posix", str(folder)],
        env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: listens(port), 30, "the S3 server")
        yield S3(url=f"http://127.0.0.1:{port}", folder=folder)
    finally:
        process.kill()
        process.wait()
