"""Turns: one after the other, with a bound on how many wait."""

import threading
from functools import partial

import pytest

from voxbeam.serving.turns import TooManyWaitError, Turns

from tests.servers.processes import wait_for


def has_length(turns: Turns, length: int) -> bool:
    return len(turns) == length


def test_turns_are_in_order() -> None:
    turns, order = Turns(2), []

    def take(number: int) -> None:
        with turns.turn(lambda: None):
            order.append(number)

    with turns.turn(lambda: None):
        threads = [threading.Thread(target=take, args=[number]) for number in range(2)]
        for number, thread in enumerate(threads, 2):
            thread.start()
            wait_for(partial(has_length, turns, number), 60, "a thread in the queue")
        with pytest.raises(TooManyWaitError), turns.turn(lambda: None):
            pass
    for thread in threads:
        thread.join()
    assert order == [0, 1] and not len(turns)
    with pytest.raises(KeyError), turns.turn(lambda: None):
        raise KeyError
    assert not len(turns), "what is raised in a turn ends it"
