"""Supervisor: runs a worker process for an executor of Spark or Flink, and ends the executor if a signal kills the worker.

An executor keeps its worker as long as the environment is cached, dead or alive. With a dead worker it fails every task, and
gets nearly all of them, because it fails faster than the others finish. If the executor ends, Spark starts a new one and repeats
what was lost. This module imports little, since it stays in memory beside every worker.
"""

import os
import signal
import subprocess
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Starts a Beam SDK worker with this process's environment and ends with it. SIGTERM ends both."""
    executor = os.getppid()
    worker = subprocess.Popen([sys.executable, "-m", "apache_beam.runners.worker.sdk_worker_main"])

    def stop(*_: object) -> NoReturn:
        worker.kill()
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    status = worker.wait()
    if status < 0 and os.getppid() == executor:
        os.kill(executor, signal.SIGTERM)
    sys.exit(status)


if __name__ == "__main__":
    main()
