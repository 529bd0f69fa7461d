"""Fork server: one process that imports every library of a worker, once; workers are forked from it.

Torch, Beam and pyannote take 14 s of CPU to import. Beam's own worker processes are fresh interpreters: each would pay that, on
cores that have work to do. This module is light, so that a command can start the server before it imports anything itself.
"""

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.forkserver import ensure_running, set_forkserver_preload

IMPORTS = (
    "apache_beam.runners.worker.sdk_worker_main",
    "voxbeam.pipeline.graph",
    "voxbeam.pipeline.runners.local",
    "voxbeam.models.pyannote_models",
    "voxbeam.transforms.asr.faster_whisper",
)
# Elsewhere libraries may run threads that a fork would leave behind; a worker is then a fresh interpreter.
_FORKS = sys.platform == "linux"


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
