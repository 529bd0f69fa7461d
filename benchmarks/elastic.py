"""Loaders resumed within an epoch with another number of ranks and workers: which samples are read twice, and which never?

Two ranks with two workers each read about half of an epoch and save their state; three ranks with five workers each resume
to the end of the epoch. Real processes; each loader saves and restores its state as its documentation says.

    python benchmarks/elastic.py [--samples N]

Needs requirements/benchmarks.txt in a separate environment, as benchmarks/loader.py does, which writes the samples.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import socket
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from rich.console import Console
from rich.table import Table

BATCH = 8
BEFORE, AFTER = (2, 2), (3, 5)
"""ranks, workers of each"""
Read = tuple[list[str], Any]
"""keys in the order in which they came, and the state after them"""


def read_voxbeam(folder: Path, rank: int, world: int, workers: int, state: Any, batches: int | None) -> Read:
    from voxbeam.trainer.data.sampler import LoaderPosition, SamplerConfig
    from voxbeam.trainer.data.stream import Stream, StreamConfig

    sampler = SamplerConfig(batch_frames=BATCH * 2250 * BEFORE[0])
    stream = Stream(str(folder), config=StreamConfig(sampler=sampler, threads=workers), rank=rank, world=world)
    keys: list[str] = []
    batches_in_epoch = len(stream.sampler.batches(0, 0))  # the samples make one window
    until = batches_in_epoch if batches is None else batches_in_epoch // 2
    for step, after in stream.steps(int(state or 0)):
        keys += [key for batch in step if not batch.is_dummy for key in batch.keys]
        if LoaderPosition.from_state(after).batch == until:
            return keys, after
    raise AssertionError("the steps have no end")


def read_webdataset(folder: Path, rank: int, world: int, workers: int, state: Any, batches: int | None) -> Read:
    """It has no state to restore: a run that is resumed begins its epoch anew."""
    import webdataset
    from torch.utils.data import DataLoader

    tars = [str(path) for path in sorted(folder.rglob("*.tar"))]
    nodes = webdataset.split_by_node
    dataset = webdataset.WebDataset(tars, shardshuffle=100, nodesplitter=nodes, empty_check=False).shuffle(100).decode()
    keys: list[str] = []
    for number, sample in enumerate(DataLoader(dataset, batch_size=None, num_workers=workers)):
        if batches is not None and number == batches * BATCH:
            break
        keys.append(sample["__key__"])
    return keys, None


def keys_of(samples: list[dict[str, Any]]) -> dict[str, list[str]]:
    """A batch, of which mosaicml-streaming counts the samples by its first value."""
    return {"key": [sample["key"] for sample in samples]}


def read_mosaic(folder: Path, rank: int, world: int, workers: int, state: Any, batches: int | None) -> Read:
    import streaming

    dataset = streaming.StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
    loader = streaming.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, collate_fn=keys_of)
    if state is not None:
        loader.load_state_dict(state)
    keys: list[str] = []
    for number, batch in enumerate(loader):
        keys += batch["key"]
        if number + 1 == batches:
            break
    return keys, loader.state_dict()


def read_litdata(folder: Path, rank: int, world: int, workers: int, state: Any, batches: int | None) -> Read:
    import litdata

    dataset = litdata.StreamingDataset(str(folder), shuffle=True, drop_last=False)
    loader = litdata.StreamingDataLoader(dataset, batch_size=BATCH, num_workers=workers, collate_fn=keys_of)
    if state is not None:
        loader.load_state_dict(state)
    keys: list[str] = []
    for number, batch in enumerate(loader):
        keys += batch["key"]
        if number + 1 == batches:
            break
    return keys, loader.state_dict()


ARMS: dict[str, tuple[Callable[..., Read], str]] = {
    "voxbeam": (read_voxbeam, "release"),
    "webdataset": (read_webdataset, "release"),
    "mosaicml-streaming": (read_mosaic, "mosaic"),
    "litdata": (read_litdata, "litdata"),
}


def read_as_rank(name: str, folder: str, port: int, out: str, rank: int, world: int, *rest: Any) -> None:
    """One rank: a process of its own. Writes what it read, or why it could not."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # that five workers are many for this machine
    told = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    os.environ |= {key: str(value) for key, value in told.items()} | {"MASTER_ADDR": "127.0.0.1"}
    dist.init_process_group("gloo")
    try:
        keys, state = ARMS[name][0](Path(folder), rank, world, *rest)
        found: dict[str, Any] = {"keys": keys, "state": state}
    except Exception as error:  # how a peer refuses is a result
        found = {"error": f"{type(error).__name__}: {error}"}
    Path(out, f"{rank}.json").write_text(json.dumps(found))
    os._exit(0)  # a peer's workers may outlive an epoch that was left in the middle


def read_by_all(name: str, folder: Path, ranks: int, workers: int, state: Any, batches: int | None) -> list[dict[str, Any]]:
    """Every rank of a run, as real processes."""
    with tempfile.TemporaryDirectory() as out, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        rest = (ranks, workers, state, batches)
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=read_as_rank, args=(name, str(folder), port, out, r, *rest)) for r in range(ranks)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=180)
            process.kill()
        hung = {"error": "no end within 3 minutes"}
        files = [Path(out, f"{rank}.json") for rank in range(ranks)]
        return [json.loads(file.read_text()) if file.exists() else hung for file in files]


def measure(name: str, root: Path, count: int) -> tuple[str, str, str]:
    """Duplicates, misses, and a remark."""
    folder = root / ARMS[name][1]
    first = read_by_all(name, folder, *BEFORE, None, max(1, count // (2 * BATCH * BEFORE[0])))
    errors = [rank["error"] for rank in first if "error" in rank]
    if errors:
        return "—", "—", errors[0]
    rest = read_by_all(name, folder, *AFTER, first[0]["state"], None)
    errors = [rank["error"] for rank in rest if "error" in rank]
    if errors:
        return "—", "—", errors[0].splitlines()[0][:160]
    seen = Counter(key for rank in first + rest for key in rank["keys"])
    duplicates = sum(times - 1 for times in seen.values())
    return str(duplicates), str(count - len(seen)), f"{sum(len(rank['keys']) for rank in first)} before, then the rest"


def main() -> None:
    from benchmarks.loader import make_litdata, make_mosaic, make_release

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--samples", type=int, default=1_000, help="how many (default: %(default)s)")
    count = arguments.parse_args().samples
    logging.disable(logging.WARNING)
    table = Table(title=f"{count} samples, ranks × workers {BEFORE} → {AFTER} in mid-epoch", title_justify="left", box=None)
    for column in ("loader", "read twice", "never read", ""):
        table.add_column(column, justify="right" if "read" in column else "left", overflow="fold")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["VOXBEAM_CACHE"] = str(root / "cache")
        make_release(root / "release", count, shard_bytes=1 << 20)
        make_mosaic(root / "mosaic", count)
        make_litdata(root / "litdata", count)
        for arm in ARMS:
            table.add_row(arm, *measure(arm, root, count))
    Console().print(table)


if __name__ == "__main__":
    main()
