"""A real Flink session cluster for tests: a job manager, two task managers of one slot each, and Beam's job server."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers.processes import DEPLOY, JAVA_OPENS, free_port, java_libraries, listens, running, wait_for

JOB_SERVER = DEPLOY / "flink" / "job_server.sh"
# What Flink's own start script would work out from the size of the machine.
MEMORY = {
    "task.heap.size": "256m",
    "task.off-heap.size": "64m",
    "framework.heap.size": "128m",
    "framework.off-heap.size": "128m",
    "managed.size": "128m",
    "network.min": "256m",
    "network.max": "256m",
    "jvm-metaspace.size": "256m",
    "jvm-overhead.min": "192m",
    "jvm-overhead.max": "192m",
}


@contextmanager
def flink_cluster(folder: Path) -> Iterator[str]:
    """Starts the cluster and the job server; gives the job server's endpoint. Skips the test where Java or Maven is missing."""
    lib = java_libraries("flink")
    rest, job = free_port(), free_port()
    settings = {
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": free_port(),
        "jobmanager.memory.process.size": "1g",
        "rest.address": "127.0.0.1",
        "rest.port": rest,
        "taskmanager.host": "127.0.0.1",
        "taskmanager.numberOfTaskSlots": 1,
        "taskmanager.cpu.cores": 1,
        **{f"taskmanager.memory.{name}": size for name, size in MEMORY.items()},
    }
    (folder / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in settings.items()))
    java = ["java", *JAVA_OPENS, "-Xmx512m", "-cp", f"{lib}/*"]
    configured = ["--configDir", str(folder)]
    runtime = "org.apache.flink.runtime"

    def task_managers() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{rest}/taskmanagers", timeout=10) as answer:
                return len(json.load(answer)["taskmanagers"])
        except urllib.error.HTTPError:  # 503: the job manager listens before it can answer
            return 0

    with ExitStack() as stack:
        manager = f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint"
        stack.enter_context(running([*java, manager, *configured, "--executionMode", "cluster"], folder / "manager.log", {}))
        wait_for(lambda: listens(rest), 60, "the Flink job manager")
        for number in range(2):
            start = [*java, f"{runtime}.taskexecutor.TaskManagerRunner", *configured]
            stack.enter_context(running(start, folder / f"worker{number}.log", {}))
        ports = {"VOXBEAM_JOB_PORT": str(job), "VOXBEAM_ARTIFACT_PORT": str(free_port()), "VOXBEAM_FLINK_LIB": str(lib)}
        stack.enter_context(running([str(JOB_SERVER), f"127.0.0.1:{rest}"], folder / "job_server.log", ports))
        wait_for(lambda: task_managers() == 2, 90, "Flink's task managers")
        wait_for(lambda: listens(job), 90, "the job server")
        yield f"127.0.0.1:{job}"
