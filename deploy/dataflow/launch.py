"""What the flex template's launcher starts. It knows parameters only (`--input=…`), so the command is said here."""

import sys

from voxbeam.beam_runner import run

sys.argv[1:1] = ["build", "--runner=DataflowRunner"]
run()
