"""`python -m voxbeam`: the same as `voxbeam`."""

from voxbeam.beam_runner import run

if __name__ == "__main__":
    run()
