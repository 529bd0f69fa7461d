"""Time, memory and truth of finding the identities of many made-up voices: the step of a build that runs in one worker.

    PYTHONPATH=. python benchmarks/identity.py [--persons 200000] [--each 5] [--named 0.2] [--calibration FILE]

Voices are normally distributed so that similarities of two persons have the deviation of a calibration, by default that of
CAM++, whose upper tail it fits. Similarities of one person depend on how much is heard: CAM++'s are 0.66 ± 0.14 for 7 s (the
calibration) and 0.92 ± 0.04 for 34 s of one session (`--same`); the default lies between. Reading the voices table, finding and
naming identities and writing their table are the product's own. Resident memory is the process's largest. A person is whole if
all of its recordings are in one identity, and a voice is wrong if most of the speech of its identity is somebody else's.
"""

import argparse
import resource
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxbeam import assets
from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.identify import identify
from voxbeam.pipeline.steps.release_writer import write_part
from voxbeam.schemas.columns import Record
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.identity import IdentityRow, VoiceRow
from voxbeam.schemas.release import ReleaseFile
from voxbeam.storage.releases import read_part_table
from voxbeam.storage.store import Store
from voxbeam.transforms.identity.evidence import Calibration

_PART = 50_000


def make_up(count: int, each: int, calibration: Calibration, same: tuple[float, float]) -> NDArray[np.float16]:
    """Embeddings [count · each, D], those of a person one after the other, from which the center is not taken off yet."""
    scores, width = calibration.scores, len(calibration.center_D)
    rng = np.random.default_rng(0)
    # Directions with so uneven variances that the similarity of two persons has the calibrated deviation.
    decay = next(d for d in np.linspace(0, 0.2, 2001) if _deviation(np.exp(-d * np.arange(width))) >= scores.different_deviation)
    scale = np.exp(-decay * np.arange(width) / 2).astype(np.float32)
    own_mean = same[0] ** 0.5
    own_deviation = same[1] / own_mean / 2**0.5
    found = np.empty((count * each, width), np.float16)
    for start in range(0, count, 10_000):
        persons = min(10_000, count - start)
        center = _unit(rng.normal(size=(persons, width)).astype(np.float32) * scale)
        own = np.clip(rng.normal(own_mean, own_deviation, (persons, each, 1)), 0.2, 0.98).astype(np.float32)
        noise = _unit(rng.normal(size=(persons, each, width)).astype(np.float32) * scale)
        heard = _unit((own * center[:, None] + np.sqrt(1 - own**2) * noise).astype(np.float32))
        rows = _unit(0.8 * heard + calibration.center_D.astype(np.float32))
        found[start * each : (start + persons) * each] = rows.reshape(-1, width)
    return found


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def _deviation(variance: NDArray[np.float64]) -> float:
    """Of the cosine similarity of normally distributed vectors with these variances."""
    return float(np.sqrt((variance**2).sum()) / variance.sum())


def put_voices(
    store: Store, persons: int, each: int, named: float, calibration: Calibration, same: tuple[float, float]
) -> list[ReleaseFile]:
    """The voices table; a share of the recordings is listed with the person's name."""
    embedding = make_up(persons, each, calibration, same)
    rng = np.random.default_rng(1)
    has_name = rng.random(len(embedding)) < named
    order = rng.permutation(len(embedding))
    files = []
    for start in range(0, len(order), _PART):
        rows: list[Record] = []
        for n in order[start : start + _PART].tolist():
            recording, name = f"p{n // each:07d}-r{n % each}", f"n{n // each}" if has_name[n] else None
            rows.append(
                VoiceRow(
                    voice=f"{recording}_v1", recording=recording, speaker=name or f"{recording}_v1", name=name,
                    speech_ms=int(rng.integers(5_000, 600_000)), embedding=embedding[n].tobytes(),
                )
            )  # fmt: skip
        files.append(write_part(store, "voices", f"part-{start // _PART:06d}", rows))
    return files


def truth(store: Store, files: list[ReleaseFile], persons: int) -> str:
    """How many persons are whole, and how many voices are wrong."""
    identities_of: dict[str, set[int]] = defaultdict(set)
    wrong = number = 0
    for file in files:
        for voices in read_part_table(store, IdentityRow, file.path)["voices"].to_pylist():
            people = Counter(voice.split("-")[0] for voice in voices)
            wrong += len(voices) - max(people.values())
            for person in people:
                identities_of[person].add(number)
            number += 1
    whole = sum(len(found) == 1 for found in identities_of.values())
    voices_in_all = sum(len(found) for found in identities_of.values())
    return (
        f"{number:,} identities; whole persons {whole / persons:.2%}; identities a person {voices_in_all / persons:.3f}; "
        f"wrong voices {wrong}"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--persons", type=int, default=200_000)
    arguments.add_argument("--each", type=int, default=5, help="recordings of a person (default: %(default)s)")
    arguments.add_argument("--named", type=float, default=0.2, help="share of recordings with a name (default: %(default)s)")
    arguments.add_argument(
        "--same",
        type=float,
        nargs=2,
        default=[0.8, 0.1],
        help="mean and deviation of one person (default: %(default)s)",
    )
    arguments.add_argument("--calibration", type=Path, default=assets.IDENTITY / "campplus.json")
    options = arguments.parse_args()
    pin_threads()
    calibration = Calibration.from_json(options.calibration.read_bytes(), str(options.calibration))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        files = put_voices(store, options.persons, options.each, options.named, calibration, tuple(options.same))
        made_up_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        config = CorpusConfig.model_validate({"identify": {"calibration": str(options.calibration.resolve())}})
        job = Job(
            output=folder, listing="", config=config, policy_path="", fingerprint="", model_hashes={}, number=1, previous=None,
            extends_previous=False, recordings=0, allow_empty=True, run_id="benchmark",
        )  # fmt: skip
        wall, cpu = time.perf_counter(), time.process_time()
        output = identify(job, files)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        count = options.persons * options.each
        print(f"{count:,} voices: {wall:,.0f} s, {cpu:,.0f} s of a processor, at most {peak:.2f} GB")
        print(f"(making them up took {made_up_gb:.2f} GB)")
        print(truth(store, output.files, options.persons))
        print(output.labels)


if __name__ == "__main__":
    main()
