"""One at a time, in the order of asking, with a bound on how many may wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_S = 0.2
"""how often who waits looks whether that still has a purpose"""


class TooManyWaitError(Exception):
    """So many wait already that one more would wait in vain."""


class Turns:
    """Gives one thread after the other a turn; `waiting` may wait meanwhile."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, require_wanted: Callable[[], None]) -> Iterator[None]:
        """Waits for a turn and holds it. What `require_wanted` raises ends the waiting; it is asked again and again.

        Raises TooManyWaitError at once if the queue is full.
        """
        mine = object()
        with self._changed:
            if len(self._queue) > self.waiting:
                raise TooManyWaitError
            self._queue.append(mine)
        try:
            with self._changed:
                while self._queue[0] is not mine:
                    require_wanted()
                    self._changed.wait(_LOOK_S)
            yield
        finally:
            with self._changed:
                self._queue.remove(mine)
                self._changed.notify_all()

    def __len__(self) -> int:
        """How many have a turn or wait for one."""
        return len(self._queue)
