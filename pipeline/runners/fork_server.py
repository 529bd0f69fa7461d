"""Fork server: one process that imports every library of a worker, once; workers are forked from it.

Torch, Beam and pyannote take 14 s of CPU to import. Beam's own worker processes are fresh interpreters, each of which would spend
that time. This module is light, so that a command can start the server before it imports anything else.
"""

import multiprocessing
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.forkserver import ensure_running, set_forkserver_preload
from multiprocessing.process import BaseProcess
from typing import Any

PRELOAD = (
    "apache_beam.runners.worker.sdk_worker_main",
    "voxbeam.pipeline.graph",
    "voxbeam.pipeline.runners.local",
    "voxbeam.models.pyannote_models",
    "voxbeam.transforms.asr.faster_whisper",
)
# Outside Linux, libraries may run threads that a fork would leave behind; a worker is a fresh interpreter there.
_FORK_SUPPORTED = sys.platform == "linux"
_patch_lock = threading.Lock()


def start() -> None:
    """Starts the server; it imports while the caller goes on. Safe to call again."""
    if _FORK_SUPPORTED:
        set_forkserver_preload(list(PRELOAD))
        # The server inherits standard error, and libraries write warnings while they are imported.
        visible, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            ensure_running()
        finally:
            os.dup2(visible, 2)
            os.close(visible)
            os.close(nowhere)


def start_process(target: Callable[..., None], args: tuple[Any, ...]) -> BaseProcess:
    """Starts `target(*args)` in a new process.

    Unlike multiprocessing, it does not import the caller's `__main__` there, so a script needs no `if __name__ == "__main__"`.
    `target` must be importable by its module's name.
    """
    start()
    context: ForkServerContext | SpawnContext = (
        multiprocessing.get_context("forkserver") if _FORK_SUPPORTED else multiprocessing.get_context("spawn")
    )
    process = context.Process(target=target, args=args, name=f"voxbeam-{uuid.uuid4().hex}")
    with _without_main(process.name):
        process.start()
    return process


@contextmanager
def _without_main(process_name: str) -> Iterator[None]:
    """Has multiprocessing leave the caller's main module out of what it prepares for this process, and for this one only."""
    with _patch_lock:
        original = spawn.get_preparation_data

        def preparation_data(name: str) -> dict[str, Any]:
            data = original(name)
            return {key: value for key, value in data.items() if name != process_name or not key.startswith("init_main")}

        spawn.get_preparation_data = preparation_data
        try:
            yield
        finally:
            spawn.get_preparation_data = original
