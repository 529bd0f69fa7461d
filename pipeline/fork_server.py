"""Fork server: one process that imports every library of a worker, once; workers are forked from it.

Torch, Beam and pyannote take 14 s of CPU to import. Beam's own worker processes are fresh interpreters: each would pay that, on
cores that have work to do. This module is light, so that a command can start the server before it imports anything itself.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.forkserver import ensure_running, set_forkserver_preload

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
IMPORTS = (
    "apache_beam.runners.worker.sdk_worker_main",
    "pipeline.graph",
    "pipeline.local_workers",
    "assets.pyannote_models",
    "transforms.recognize_faster",
)
# Elsewhere libraries may run threads that a fork would leave behind; a worker is then a fresh interpreter.
_FORKS = sys.platform == "linux"


def local_workers(beam_options: Sequence[str], gpus: int = 0) -> int:
    """How many worker processes Beam's options ask of the in-process runner; 0 for another runner.

    By default as many as the models have GPUs to run on, or one per core where they run on the CPU.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--runner")
    parser.add_argument("--direct_num_workers", type=int, default=0)
    asked, _ = parser.parse_known_args(list(beam_options))
    return 0 if asked.runner not in (None, LOCAL_RUNNER) else asked.direct_num_workers or gpus or os.cpu_count() or 1


def start() -> None:
    """Has the server import, while the caller goes on. Safe to call again."""
    if _FORKS:
        set_forkserver_preload(list(IMPORTS))
        # What libraries say while they are imported is for nobody; workers write to a log of their own.
        visible, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            ensure_running()
        finally:
            os.dup2(visible, 2)
            os.close(visible)
            os.close(nowhere)


def worker_context() -> ForkServerContext | SpawnContext:
    """What starts a worker process."""
    start()
    return multiprocessing.get_context("forkserver") if _FORKS else multiprocessing.get_context("spawn")
