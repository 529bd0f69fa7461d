"""Graph: the whole build as one Beam pipeline — units, identities, shards, commit. docs/architecture.md describes it."""

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsList, AsSingleton

from voxbeam.pipeline.job import Job
from voxbeam.pipeline.steps.commit import commit_release
from voxbeam.pipeline.steps.identify import assign_identities, identify, identity_paths, voice_parts
from voxbeam.pipeline.steps.link import RECORDINGS, UNIT_VOICES, FinishedRecording, LinkRecordings
from voxbeam.pipeline.steps.pack import UnitSelection, WriterOutput, WriteShards, WriteTables, assign_part, assign_shard_group
from voxbeam.pipeline.steps.probe import ProbeRecordings, read_job_listing
from voxbeam.pipeline.steps.released import FAILED_WINDOWS, ReadFinishedUnit, ReadReleased, released_parts
from voxbeam.pipeline.steps.revise import ReviseSamples, previous_samples
from voxbeam.pipeline.steps.units import FAILED, PlanUnits, ProcessUnits
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import ReleaseFile
from voxbeam.schemas.unit import Unit, UnitResult


def build_graph(root: beam.Pipeline, job: Job, accelerator: str | None = None) -> None:
    """Adds the build to a pipeline. Its last step puts the release. `accelerator` is a resource hint for the stages of a unit."""
    results, unusable = _released(root, job) if job.repacks else _processed(root, job, accelerator)
    linked = (
        results
        | "KeyResultsByRecording"
        >> beam.Map(lambda r: (r.unit.recording.recording, r.to_bytes())).with_output_types(tuple[str, bytes])
        | "GroupByRecording" >> beam.GroupByKey()
        | "LinkRecordings" >> beam.ParDo(LinkRecordings(job)).with_outputs(FAILED, UNIT_VOICES, RECORDINGS)
    )
    units = (
        linked[RECORDINGS]
        | "UnitCounts" >> beam.Map(lambda r: len(r.row.units)).with_output_types(int)
        | "SumUnits" >> beam.CombineGlobally(sum)
    )
    tables = (
        linked[RECORDINGS]
        | "AssignPart" >> beam.Map(assign_part, AsSingleton(units)).with_output_types(tuple[int, FinishedRecording])
        | "GroupPart" >> beam.GroupByKey()
        | "WriteTables" >> beam.ParDo(WriteTables(job)).with_output_types(WriterOutput)
    )
    voices = tables | "VoiceParts" >> beam.FlatMap(voice_parts)
    identified = root | "IdentifyOnce" >> beam.Create([job]) | "Identify" >> beam.Map(identify, AsList(voices))
    identities = AsSingleton(identified | "IdentityPaths" >> beam.Map(identity_paths))
    selected = linked[UNIT_VOICES] | "AssignIdentities" >> beam.FlatMap(assign_identities, job, identities)
    bytes_by_split = (
        selected
        | "SplitBytes" >> beam.Map(lambda s: (s[0], s[2].bytes)).with_output_types(tuple[str, int])
        | "SumBytes" >> beam.CombinePerKey(sum)
    )
    shards = (
        selected
        | "AssignShardGroup"
        >> beam.Map(assign_shard_group, AsDict(bytes_by_split), job.config.pack).with_output_types(
            tuple[tuple[str, int], UnitSelection]
        )
        | "GroupShards" >> beam.GroupByKey()
        | "WriteShards" >> beam.ParDo(WriteShards(job)).with_output_types(WriterOutput)
    )
    revised = (
        root
        | "ReviseOnce" >> beam.Create([job])
        | "PreviousSamples" >> beam.FlatMap(previous_samples).with_output_types(tuple[str, ReleaseFile])
        | "GroupPrevious" >> beam.GroupByKey()
        | "ReviseSamples" >> beam.ParDo(ReviseSamples(job), identities).with_output_types(WriterOutput)
    )
    outputs = (shards, tables, identified, revised) | "FlattenWriters" >> beam.Flatten()
    failed = (unusable, linked[FAILED]) | "Quarantined" >> beam.Flatten()
    _ = root | "CommitOnce" >> beam.Create([job]) | "CommitRelease" >> beam.Map(commit_release, AsList(outputs), AsList(failed))


def _processed(root: beam.Pipeline, job: Job, accelerator: str | None) -> tuple[beam.PCollection, beam.PCollection]:
    """Results of the units of the listed recordings, and recordings that are not used."""
    probed = (
        root
        | "Listing" >> beam.Create([job.listing])
        | "ReadListing" >> beam.FlatMap(read_job_listing, job)
        | "KeyByRecording" >> beam.Map(lambda r: (r.recording, r)).with_output_types(tuple[str, Recording])
        | "ReshuffleRecordings" >> beam.GroupByKey()
        | "ProbeRecordings" >> beam.ParDo(ProbeRecordings(job))
        | "GroupSameBytes" >> beam.GroupByKey()
        | "PlanUnits" >> beam.ParDo(PlanUnits(job)).with_outputs(FAILED, main="units")
    )
    process = ProcessUnits(job)
    results = (
        probed.units
        | "GroupUnits" >> beam.GroupByKey()
        | "ProcessUnits" >> (process.with_resource_hints(accelerator=accelerator) if accelerator else process)
    )
    return results, probed[FAILED]


def _released(root: beam.Pipeline, job: Job) -> tuple[beam.PCollection, beam.PCollection]:
    """The same of the previous release."""
    released = (
        root
        | "ReleasedOnce" >> beam.Create([job])
        | "ReleasedParts" >> beam.FlatMap(released_parts).with_output_types(tuple[str, ReleaseFile])
        | "GroupParts" >> beam.GroupByKey()
        | "ReadReleased" >> beam.ParDo(ReadReleased(job)).with_outputs(FAILED, FAILED_WINDOWS, main="units")
    )
    finished = (
        released.units
        | "KeyUnits" >> beam.Map(lambda pair: pair).with_output_types(tuple[str, Unit])
        | "GroupUnits" >> beam.GroupByKey()
        | "ReadFinishedUnit" >> beam.ParDo(ReadFinishedUnit(job)).with_output_types(UnitResult)
    )
    return (finished, released[FAILED_WINDOWS]) | "FlattenResults" >> beam.Flatten(), released[FAILED]
