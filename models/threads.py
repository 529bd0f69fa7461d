"""Pins every model library to one thread per process.

EnCodec's codes depend on the thread count (1.6 % of them, measured), and a build must give the same bytes for any number of
workers. Parallelism comes from processes, each with its own units.
"""

import os


def pin_threads() -> None:
    """Sets one thread for torch and for libraries that read OMP_NUM_THREADS. Idempotent; call it before torch is used."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # oneDNN caches scratch memory for 1024 input shapes, and every segment has another length: 1.1 GB more after 15 minutes
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "4")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
