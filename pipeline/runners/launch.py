"""Launch: runs the graph of a build on the runner that its options name."""

import logging
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from voxbeam.pipeline.events import BuildObserver
from voxbeam.pipeline.graph import build_graph
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.runners.gpus import visible_gpus
from voxbeam.pipeline.runners.local import ForkedEnvironment
from voxbeam.pipeline.runners.options import LOCAL_RUNNER, RunnerOptions
from voxbeam.schemas.errors import CommitConflictError, ModelError, VoxbeamError, WorkerLostError


def run_job(job: Job, runner: RunnerOptions, beam_options: PipelineOptions, observer: BuildObserver) -> str | None:
    """Runs the graph to its end, unless the options say not to wait. Returns the id of a Dataflow job.

    Raises a VoxbeamError for what a worker raised or how it ended.
    """
    workers = runner.local_workers()
    gpus = visible_gpus() if workers and job.config.device == "cuda" else []
    workers = runner.local_workers(len(gpus))
    with _worker_log(workers > 1) as log:
        beam_runner = None
        if workers:
            beam_options.view_as(StandardOptions).runner = LOCAL_RUNNER
            beam_options.view_as(DirectOptions).direct_num_workers = workers
            beam_runner = FnApiRunner(default_environment=ForkedEnvironment(log, gpus) if log else None)
        try:
            root = beam.Pipeline(runner=beam_runner, options=beam_options)
            build_graph(root, job, runner.accelerator(job.config.device))
            result = root.run()
            job_id = str(result.job_id()) if runner.on_dataflow and result.has_job else None
            if job_id:
                observer.report("run", message=f"Dataflow job {job_id}: it continues, and commits, even if this process stops")
            if runner.waits:
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
        return job_id


@contextmanager
def _worker_log(wanted: bool) -> Iterator[str | None]:
    """A file for the standard error of local worker processes, which report every channel they open.

    It is kept if the run fails, and the error names it. With log level INFO or lower the workers write to the driver's.
    """
    if not wanted or logging.root.isEnabledFor(logging.INFO):
        yield "/dev/stderr" if wanted else None
        return
    with tempfile.NamedTemporaryFile("w", prefix="voxbeam-workers-", suffix=".log", delete=False) as log:
        pass
    try:
        yield log.name
    except BaseException as error:
        if isinstance(error, VoxbeamError):
            error.worker_log = log.name
        error.add_note(f"Worker log: {log.name}")
        raise
    Path(log.name).unlink()
