"""Pins every model library to one thread per process.

EnCodec's codes change with the thread count (1.6 % of them, measured), so the law "same bytes whatever the number of workers"
needs it; parallelism comes from processes, each with units of its own.
"""

import os


def pin_threads() -> None:
    """One thread for torch and for every library that reads OMP_NUM_THREADS. Safe to call again; best before torch is used."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # oneDNN keeps scratch memory for up to 1024 input lengths, and every segment has its own: 1.1 GB more after 15 minutes
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
