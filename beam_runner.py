"""The program `voxbeam`. `python beam_runner.py`, `python -m voxbeam` and the installed script `voxbeam` are the same."""

import os
import sys
from typing import NoReturn

from voxbeam.commands.main import main


def run() -> NoReturn:
    """Runs one command and ends the process with its exit status.

    Tearing the interpreter down while C++ threads of Beam and of the models are alive sometimes aborts ("terminate called without
    an active exception", exit status 134) after all work is done. So nothing is torn down.
    """
    os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")  # pyannote.audio sends usage statistics otherwise
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
