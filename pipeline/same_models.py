"""Same models: a worker on another machine has the models by which units are named, or it stops.

Each machine of a cluster fetches models of a hub by itself, and has packages of its own. With other bytes under the same names,
its units would be of other models than their fingerprints say.
"""

import threading

from voxbeam.pipeline.job import Job
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.schemas.errors import ModelError

_NOT_COMPARED = ("libraries", "identify")
"""torch for a GPU has another version than for a CPU; what voices are joined with makes no units"""
_compared: set[str] = set()
_lock = threading.Lock()


def require_same_models(job: Job) -> None:
    """Compares the models of this process, once for each run, with those of the process that launched the job.

    Raises ModelError if any has other bytes, or is not there.
    """
    with _lock:
        if job.local or job.run_id in _compared:
            return
        here = model_hashes(job.config)
        others = sorted(name for name in {*here, *job.model_hashes} if here.get(name) != job.model_hashes.get(name))
        others = [name for name in others if name not in _NOT_COMPARED]
        if others:
            raise ModelError(
                f"a worker has other bytes than the machine that launched the build for the models {', '.join(others)}",
                remedy="use the same container image, and put models of a hub into the image or give the address of a copy in a "
                "bucket; then launch again",
            )
        _compared.add(job.run_id)
