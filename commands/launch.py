"""Several processes of one command on this machine, as ranks of torch.distributed.

What torchrun does on one machine, and one thing that it does not: stopped by SIGTERM, it ends with the status of its ranks.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

from voxbeam.trainer.signals import handling_signals

_POLL_S = 0.2


def run_ranks(words: Sequence[str], processes: int) -> int:
    """Runs `voxbeam` with these words in so many processes; returns the status of the first one that fails, else 0.

    SIGTERM and SIGINT go to all of them. When one fails, the others are terminated.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "voxbeam", *words],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            start_new_session=True,  # Ctrl-C reaches them once, from here
        )
        for rank in range(processes)
    ]

    def forward(number: int, frame: FrameType | None) -> None:
        for rank in ranks:
            rank.send_signal(number)

    with handling_signals(forward):
        failed = 0
        while any(rank.poll() is None for rank in ranks):
            failed = failed or next((rank.returncode for rank in ranks if rank.returncode), 0)
            if failed:
                forward(signal.SIGTERM, None)
            time.sleep(_POLL_S)
        return failed or next((rank.returncode for rank in ranks if rank.returncode), 0)
