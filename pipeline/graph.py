"""Graph: the whole build as one Beam pipeline — work, pack, commit. The picture is in docs/architecture.md."""

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsList, AsSingleton

from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.commit import commit_release
from voxbeam.pipeline.steps.pack import (
    REPORTS,
    SHARES,
    LinkRecordings,
    Made,
    Report,
    UnitShare,
    WriteBucket,
    WriteReports,
    bucket_of,
    report_part,
)
from voxbeam.pipeline.steps.units import FAILED, FinishUnits, PlanUnits, ProbeRecordings, read_listing
from voxbeam.schemas.recording import Recording


def build_graph(root: beam.Pipeline, job: Job, accelerator: str | None = None) -> None:
    """Adds the build to a pipeline. Its last step puts the release. `accelerator` goes to the stages of a unit, as a hint."""
    probed = (
        root
        | "Listing" >> beam.Create([job.listing])
        | "ReadListing" >> beam.FlatMap(read_listing, job)
        | "KeyByRecording" >> beam.Map(lambda r: (r.recording, r)).with_output_types(tuple[str, Recording])
        | "SpreadRecordings" >> beam.GroupByKey()
        | "ProbeRecordings" >> beam.ParDo(ProbeRecordings(job))
        | "GroupSameBytes" >> beam.GroupByKey()
        | "PlanUnits" >> beam.ParDo(PlanUnits(job)).with_outputs(FAILED, main="units")
    )
    finish = FinishUnits(job)
    linked = (
        probed.units
        | "GroupUnits" >> beam.GroupByKey()
        | "FinishUnits" >> (finish.with_resource_hints(accelerator=accelerator) if accelerator else finish)
        | "KeyByItsRecording"
        >> beam.Map(lambda r: (r.unit.recording.recording, r.to_bytes())).with_output_types(tuple[str, bytes])
        | "GroupByRecording" >> beam.GroupByKey()
        | "LinkRecordings" >> beam.ParDo(LinkRecordings(job)).with_outputs(FAILED, SHARES, REPORTS)
    )
    bytes_by_split = (
        linked[SHARES]
        | "SplitBytes" >> beam.Map(lambda s: (s[0], s[2].bytes)).with_output_types(tuple[str, int])
        | "SumBytes" >> beam.CombinePerKey(sum)
    )
    shards = (
        linked[SHARES]
        | "AssignBucket"
        >> beam.Map(bucket_of, AsDict(bytes_by_split), job.config.pack).with_output_types(tuple[tuple[str, int], UnitShare])
        | "GroupBucket" >> beam.GroupByKey()
        | "WriteBucket" >> beam.ParDo(WriteBucket(job)).with_output_types(Made)
    )
    units = (
        linked[REPORTS]
        | "UnitCounts" >> beam.Map(lambda r: len(r.row.units)).with_output_types(int)
        | "SumUnits" >> beam.CombineGlobally(sum)
    )
    reports = (
        linked[REPORTS]
        | "AssignPart" >> beam.Map(report_part, AsSingleton(units)).with_output_types(tuple[int, Report])
        | "GroupPart" >> beam.GroupByKey()
        | "WriteReports" >> beam.ParDo(WriteReports(job)).with_output_types(Made)
    )
    made = (shards, reports) | "Made" >> beam.Flatten()
    failed = (probed[FAILED], linked[FAILED]) | "Quarantined" >> beam.Flatten()
    _ = root | "Once" >> beam.Create([job]) | "CommitRelease" >> beam.Map(commit_release, AsList(made), AsList(failed))
