"""Counting: the base of steps that report progress."""

import apache_beam as beam

from voxbeam.pipeline.job import Job
from voxbeam.pipeline.progress import Reporter, get_reporter


class CountingFn(beam.DoFn):
    """A step that adds to this process's progress and writes it when a bundle ends."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def reporter(self) -> Reporter:
        """This process's reporter."""
        return get_reporter(self.job.output, self.job.run_id)

    def setup(self) -> None:
        _ = self.reporter  # the reporter must listen before the first stage runs, or that stage is not counted

    def finish_bundle(self) -> None:
        self.reporter.flush()
