"""A real Spark standalone cluster for tests: a master, two workers of one core each, and Beam's job server."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers.processes import DEPLOY, JAVA_OPENS, free_port, java_libraries, listens, running, wait_for


@contextmanager
def spark_cluster(folder: Path) -> Iterator[str]:
    """Starts the cluster and the job server; gives the job server's endpoint. Skips the test where Java or Maven is missing."""
    lib = java_libraries("spark")
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
    java = ["java", *JAVA_OPENS, "-Xmx512m", "-cp", f"{lib}/*"]
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
        server = {**environment, **ports, "VOXBEAM_SPARK_LIB": str(lib)}
        stack.enter_context(running([str(DEPLOY / "spark" / "job_server.sh"), url], folder / "job_server.log", server))
        wait_for(lambda: listens(job), 90, "the job server")
        yield f"127.0.0.1:{job}"
