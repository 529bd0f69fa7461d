"""Signals that end a run after its current step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """A run that looks after every step whether it should stop."""

    stopping: bool
    interrupted: bool
    """by Ctrl-C"""


@contextmanager
def graceful_signals(run: Stoppable) -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill a job, and Ctrl-C end the run after the current step.

    A second Ctrl-C ends it at once.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and run.interrupted:
            raise KeyboardInterrupt
        run.stopping, run.interrupted = True, run.interrupted or number == signal.SIGINT

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
