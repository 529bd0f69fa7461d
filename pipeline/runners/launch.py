"""Launch: runs the graph of a build on the runner that its options name."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from voxbeam.pipeline.error_reports import read_reported_error
from voxbeam.pipeline.events import BuildObserver
from voxbeam.pipeline.graph import build_graph
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.runners.gpus import visible_gpus
from voxbeam.pipeline.runners.local import ForkedEnvironment
from voxbeam.pipeline.runners.options import LOCAL_RUNNER, RunnerOptions
from voxbeam.schemas.errors import StorageError, VoxbeamError, WorkerLostError


def run_job(job: Job, runner: RunnerOptions, beam_options: PipelineOptions, observer: BuildObserver) -> str | None:
    """Runs the graph to its end, unless the options say not to wait. Returns the id of a Dataflow job.

    Raises a VoxbeamError for what a worker raised or how it ended.
    """
    gpus = visible_gpus() if runner.local_workers() and job.config.device == "cuda" and job.useful_workers is None else []
    workers = runner.local_workers(len(gpus), job.useful_workers)
    with _worker_log() as log:
        processes = ForkedEnvironment(log, gpus) if workers > 1 else None
        if workers:
            beam_options.view_as(StandardOptions).runner = LOCAL_RUNNER
            beam_options.view_as(DirectOptions).direct_num_workers = workers
        try:
            root = beam.Pipeline(runner=FnApiRunner(processes) if workers else None, options=beam_options)
            build_graph(root, job, runner.accelerator(job.config.device))
            result = root.run()
            job_id = str(result.job_id()) if runner.on_dataflow and result.has_job else None
            if job_id:
                observer.report("run", message=f"Dataflow job {job_id}: it continues, and commits, even if this process stops")
            if runner.waits_for_result:
                result.wait_until_finish()
        except Exception as error:
            cause = _cause(job, processes, error)
            if cause is None:
                raise
            raise cause from error
        return job_id


def _cause(job: Job, processes: ForkedEnvironment | None, error: Exception) -> VoxbeamError | None:
    """Why a runner failed: what a worker reported, or that a worker was lost; None if neither is known."""
    try:
        reported = read_reported_error(job.store, job.run_id)
    except StorageError as unreadable:
        return unreadable
    if reported is not None:
        return reported
    if processes is not None and processes.lost_workers:
        return WorkerLostError(processes.lost_workers[0])
    if isinstance(error, DataflowRuntimeException):
        return WorkerLostError(str(error).strip())
    return None


@contextmanager
def _worker_log() -> Iterator[str]:
    """A file for what Beam logs and what local worker processes write to standard error.

    Beam logs every error of a worker with its traceback, and workers report every channel they open. The file is kept if the run
    fails, and the error names it. With log level INFO or lower everything goes to the driver's standard error instead.
    """
    if logging.root.isEnabledFor(logging.INFO):
        yield "/dev/stderr"
        return
    with tempfile.NamedTemporaryFile("w", prefix="voxbeam-workers-", suffix=".log", delete=False) as file:
        log = Path(file.name)
    beam_logger, handler = logging.getLogger("apache_beam"), logging.FileHandler(log)
    propagated = beam_logger.propagate
    beam_logger.addHandler(handler)
    beam_logger.propagate = False

    def not_of_a_worker(record: logging.LogRecord) -> bool:
        """What workers log comes through Beam's service, which hands it to the root logger."""
        if "apache_beam" not in Path(record.pathname).parts:
            return True
        handler.handle(record)
        return False

    logging.root.addFilter(not_of_a_worker)
    try:
        yield str(log)
    except BaseException as error:
        if isinstance(error, VoxbeamError):
            error.worker_log = str(log)
        error.add_note(f"Worker log: {log}")
        raise
    finally:
        logging.root.removeFilter(not_of_a_worker)
        beam_logger.removeHandler(handler)
        beam_logger.propagate = propagated
        handler.close()
    log.unlink()
