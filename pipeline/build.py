"""Build: lists the input, decides what the new release keeps of its parent, runs the graph, and says what came of it."""

import hashlib
import io
import logging
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from rich.console import Console

from voxbeam.commands.display import watching
from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.graph import build_graph
from voxbeam.pipeline.job import CODE_VERSION, Job
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.pipeline.progress import Head, Tallies, beating, clear_progress, read_tallies
from voxbeam.pipeline.release_diff import Changes, changes_since
from voxbeam.pipeline.runners.gpus import visible_gpus
from voxbeam.pipeline.runners.local import ForkedEnvironment
from voxbeam.pipeline.runners.options import LOCAL_RUNNER, RunnerOptions
from voxbeam.pipeline.steps.discover import list_recordings
from voxbeam.schemas.columns import to_table
from voxbeam.schemas.config import CorpusConfig, fingerprint
from voxbeam.schemas.errors import CommitConflictError, HandedOver, ModelError, WorkerLostError
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.releases import latest_release, read_release, release_numbers
from voxbeam.storage.store import Store, is_bucket, local_path


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a build came to."""

    release: Release
    committed: bool
    """False when the release was there already and nothing had to be added"""
    tallies: Tallies
    wall_s: float
    changes: Changes
    """why the release was not only added to, if so"""


def build(input_uri: str, output_uri: str, config: CorpusConfig, beam_options: Sequence[str], console: Console) -> Outcome:
    """Builds, or extends, a corpus.

    Raises a VoxbeamError; HandedOver when the job goes on without us. Recordings that cannot be used are quarantined.
    """
    started = time.perf_counter()
    pin_threads()
    asked = RunnerOptions(beam_options)
    asked.require_shared([output_uri])
    options = PipelineOptions(asked.filled(output_uri, config.device))
    store = Store(output_uri)
    store.require_conditional_create()
    with console.status("Listing recordings"):
        recordings = list(list_recordings(input_uri, config.listing))
        asked.require_shared(recording.uri for recording in recordings)
        listing, listed = put_listing(store, recordings), len(recordings)
    with console.status("Hashing models"):
        hashes = model_hashes(config)
    parent = latest_release(store)
    mark = fingerprint(config, hashes, CODE_VERSION)
    changes = changes_since(store, parent, recordings, config, mark, hashes) if parent is not None else Changes()
    del recordings  # the driver lives as long as the build
    if parent is not None and changes:
        console.print(f"Changed since release {parent.name}: {changes}", highlight=False)
    job = Job(
        output=store.root,
        listing=listing,
        config=config,
        fingerprint=mark,
        model_hashes=hashes,
        number=(parent.number if parent else 0) + 1,
        parent=parent.number if parent else None,
        grows=parent is not None and not changes,
        run=uuid.uuid4().hex[:8],
    )
    head = Head(recordings=listed, release=job.number)
    with beating(store, job.run, head), watching(store, job.run, listed, console), _quiet_workers() as log:
        _run(job, asked, options, log, console)
    if asked.hands_over:
        raise HandedOver(f"handed over: release {job.number} will be in {store.root} once that job has run")
    tallies = read_tallies(store, job.run)
    clear_progress(store, job.run)
    committed = job.number in release_numbers(store)
    release = read_release(store, job.number) if committed else parent
    assert release is not None
    return Outcome(
        release=release,
        committed=committed,
        tallies=tallies,
        wall_s=time.perf_counter() - started,
        changes=changes,
    )


@contextmanager
def _quiet_workers() -> Iterator[str]:
    """Sends standard error, ours and the workers', to a file meanwhile: workers tell about every channel they open.

    Gives the file's name. It is kept, and named, when the run fails. With --log-level=INFO or lower everything stays visible.
    """
    if logging.root.isEnabledFor(logging.INFO):
        yield "/dev/stderr"
        return
    with tempfile.NamedTemporaryFile("w", prefix="voxbeam-workers-", suffix=".log", delete=False) as log:
        visible = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield log.name
        except BaseException:
            os.dup2(visible, 2)
            print(f"what the workers said: {log.name}", file=sys.stderr)
            raise
        finally:
            os.dup2(visible, 2)
            os.close(visible)
        Path(log.name).unlink()


def put_listing(store: Store, recordings: list[Recording]) -> str:
    """The listing as an object, largest local files first so that the last worker does not wait on a long one."""
    sized = [
        (-(local_path(r.uri).stat().st_size if not is_bucket(r.uri) and local_path(r.uri).exists() else 0), r) for r in recordings
    ]
    in_order = [recording for _, recording in sorted(sized, key=lambda pair: (pair[0], pair[1].recording))]
    sink = io.BytesIO()
    pq.write_table(to_table(Recording, in_order), sink, compression="zstd")
    path = f"listings/{hashlib.sha256(sink.getvalue()).hexdigest()[:16]}.parquet"
    store.put_new(path, sink.getvalue())
    return path


def _run(job: Job, asked: RunnerOptions, options: PipelineOptions, log: str, console: Console) -> None:
    """Runs the graph, to its end unless it is handed over. Beam wraps what a worker raised; its text tells what it was."""
    runner = None
    if asked.local_workers():
        gpus = visible_gpus() if job.config.device == "cuda" else []
        workers = asked.local_workers(len(gpus))
        options.view_as(StandardOptions).runner = LOCAL_RUNNER
        options.view_as(DirectOptions).direct_num_workers = workers
        runner = FnApiRunner(default_environment=ForkedEnvironment(log, gpus) if workers > 1 else None)
    try:
        root = beam.Pipeline(runner=runner, options=options)
        build_graph(root, job, asked.accelerator(job.config.device))
        result = root.run()
        if asked.on_dataflow and result.has_job:
            console.print(f"Dataflow job {result.job_id()}; it goes on, and commits, even if this command is stopped")
        if asked.waits:
            result.wait_until_finish()
    except Exception as error:
        if lost := re.search(r"WorkerLostError: (.+)", str(error)):
            raise WorkerLostError(lost[1]) from error
        if "Channel closed prematurely" in str(error):  # Beam's data channel notices a dead worker before we do
            raise WorkerLostError("a worker process died") from error
        if model := re.search(r"ModelError: (.+)", str(error)):
            raise ModelError(f"a model cannot be loaded: {model[1].strip()}") from error
        if "CommitConflictError" in str(error):
            raise CommitConflictError.of_release(job.number) from error
        if isinstance(error, DataflowRuntimeException):
            raise WorkerLostError(str(error).strip()) from error
        raise
