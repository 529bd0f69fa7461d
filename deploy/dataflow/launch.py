"""The program that the flex template's launcher starts. The launcher passes parameters only; the command is added here."""

import sys

from voxbeam.beam_runner import run

sys.argv[1:1] = ["build", "--runner=DataflowRunner"]
run()
