"""Guard: runs a worker process for an executor of Spark or Flink, and ends the executor when a signal kills the worker.

An executor keeps its worker for as long as the environment is cached, dead or alive. With a dead one it fails every task that it
is given, and is given them all, because nobody is done as fast. In place of an executor that ends, Spark starts a new one and
repeats what was lost. This module imports little, since it stays in memory beside every worker.
"""

import os
import signal
import subprocess
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Becomes the parent of a Beam SDK worker with this process's environment; ends with it, or with SIGTERM ends it."""
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
