"""The program `voxbeam`. `python beam_runner.py`, `python -m voxbeam` and the installed script `voxbeam` are the same."""

import os
import signal
import sys
import threading
from typing import NoReturn

from voxbeam.commands.exit_status import INTERRUPTED
from voxbeam.commands.main import STOPPED, main
from voxbeam.commands.terminal import prepare_streams

_SECONDS_TO_STOP = 2.0
"""time to stop in order after Ctrl-C; a Beam runner waits for the current bundle of every worker instead"""


def run() -> NoReturn:
    """Runs one command and ends the process with its exit status.

    Tearing the interpreter down while C++ threads of Beam and of the models are alive sometimes aborts ("terminate called without
    an active exception", exit status 134) after all work is done. So nothing is torn down.
    """
    os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")  # pyannote.audio sends usage statistics otherwise
    signal.signal(signal.SIGINT, _interrupt)
    prepare_streams()
    _leave(main())


def _interrupt(*_: object) -> NoReturn:
    timer = threading.Timer(_SECONDS_TO_STOP, _stop_at_once)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _stop_at_once() -> NoReturn:
    """Ends the process wherever it is; worker processes end with it."""
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    sys.stderr.write(f"{show_cursor}{STOPPED}\n")
    _leave(INTERRUPTED)


def _leave(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
