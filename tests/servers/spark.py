"""A real Spark standalone cluster for tests: a master, two workers of one core each, and Beam's job server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.process import free_port, listens, wait_for

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "spark"


@contextmanager
def running(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """Starts the cluster and the job server; gives the job server's endpoint. Skips the test where Java or Maven is missing."""
    if not shutil.which("java") or not shutil.which("mvn"):
        pytest.skip("needs Java and Maven")
    lib = subprocess.run([DEPLOY / "libraries.sh"], check=True, timeout=900, stdout=subprocess.PIPE, text=True).stdout.strip()
    home = folder / "spark-home"
    home.mkdir(parents=True)
    (home / "jars").symlink_to(lib)
    (home / "RELEASE").touch()
    master, web, job = free_port(), free_port(), free_port()
    url = f"spark://127.0.0.1:{master}"
    environment = {
        "SPARK_HOME": str(home),
        "SPARK_SCALA_VERSION": "2.12",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
    }
    opens = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.nio", "java.util", "sun.nio.ch")]
    java = ["java", *opens, "-Xmx512m", "-cp", f"{lib}/*"]
    deploy = "org.apache.spark.deploy"
    with ExitStack() as stack:
        start = [*java, f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(master), "--webui-port", str(web)]
        stack.enter_context(running(start, folder / "master.log", environment))
        wait_for(lambda: listens(master), 60, "the Spark master")
        for number in range(2):
            place = ["--cores", "1", "--memory", "2g", "--host", "127.0.0.1", "--webui-port", str(free_port())]
            start = [*java, f"{deploy}.worker.Worker", *place, "--work-dir", str(folder / f"worker{number}"), url]
            stack.enter_context(running(start, folder / f"worker{number}.log", environment))
        ports = {"VOXBEAM_JOB_PORT": str(job), "VOXBEAM_ARTIFACT_PORT": str(free_port()), "VOXBEAM_SPARK_PARALLELISM": "2"}
        server = {**environment, **ports, "VOXBEAM_SPARK_LIB": lib}
        stack.enter_context(running([str(DEPLOY / "job_server.sh"), url], folder / "job_server.log", server))
        wait_for(lambda: listens(job), 90, "the job server")
        yield f"127.0.0.1:{job}"
