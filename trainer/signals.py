"""Signals that end a run: what a process does with SIGTERM and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol


@contextmanager
def handling_signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill a job, and SIGINT (Ctrl-C) go to a handler meanwhile."""
    previous = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


class Stoppable(Protocol):
    """A run that looks after every step whether it should stop."""

    stopping: bool
    interrupted: bool
    """by Ctrl-C"""


@contextmanager
def graceful_signals(run: Stoppable) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the run after the current step; a second Ctrl-C ends it at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and run.interrupted:
            raise KeyboardInterrupt
        run.stopping, run.interrupted = True, run.interrupted or number == signal.SIGINT

    with handling_signals(stop):
        yield
