"""Build: lists the input, compares it with the previous release, runs the graph and returns the new release."""

import hashlib
import io
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.build_record import write_record
from voxbeam.pipeline.collection_mark import last_collection, require_no_collection
from voxbeam.pipeline.events import BuildObserver, BuildProgress
from voxbeam.pipeline.excluded_identities import resolve_identities
from voxbeam.pipeline.heal import heal
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat, running_builds
from voxbeam.pipeline.job import CODE_VERSION, Job
from voxbeam.pipeline.model_fingerprints import model_hashes
from voxbeam.pipeline.progress import WorkerProgress, clear_progress, read_progress
from voxbeam.pipeline.release_diff import Changes, changes_since, identity_changes
from voxbeam.pipeline.runners.launch import run_job
from voxbeam.pipeline.runners.options import RunnerOptions
from voxbeam.pipeline.runners.useful_workers import workers_to_probe
from voxbeam.pipeline.steps.discover import discover
from voxbeam.pipeline.steps.input_files import LeftOut
from voxbeam.pipeline.steps.policy_object import put_policy
from voxbeam.safety.basis import BasisReport, check_basis
from voxbeam.safety.ledger import Ledger
from voxbeam.safety.tombstones import FOLDER, read_tombstones
from voxbeam.schemas.columns import to_table
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.fingerprint import fingerprint
from voxbeam.schemas.manifest import RecordingRow
from voxbeam.schemas.policy import Policy, require_decisions_kept, without_decisions
from voxbeam.schemas.recording import Recording
from voxbeam.schemas.release import Release
from voxbeam.storage.environment import require_temporary_folder
from voxbeam.storage.local_copies import local_size
from voxbeam.storage.overlays import read_overlays
from voxbeam.storage.releases import latest_release, read_release, read_rows, release_numbers
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """The result of a build."""

    release: Release | None
    """the latest release; None when the runner accepted the job and continues without this process"""
    number: int
    """of `release`, or of the release that the accepted job will commit"""
    committed: bool
    """whether this build added the release; False also when there was nothing new to add"""
    job_id: str | None
    """of a Dataflow job"""
    progress: WorkerProgress
    wall_s: float
    changes: Changes
    """why finished work of the previous release was not simply kept, if it was not"""
    left_out: tuple[LeftOut, ...] = ()
    """files of the input that are no recordings, by kind"""
    identity_changes: tuple[str, ...] = ()
    """one line for each identity of the previous release that was joined into another, was divided, or went to another split"""
    basis: BasisReport | None = None
    """why the listed recordings may be trained on, counted"""


def build(
    input_uri: str,
    output_uri: str,
    config: CorpusConfig | None = None,
    *,
    remove_unlisted: bool = False,
    allow_empty: bool = False,
    require_consent: bool = False,
    ledger: str | None = None,
    runner_args: Sequence[str] = (),
    on_progress: Callable[[BuildProgress], None] | None = None,
) -> BuildResult:
    """Builds a corpus, or extends one, and commits a release.

    Args:
        input_uri: folder, bucket prefix or listing (docs/cli.md) of recordings.
        output_uri: folder or bucket prefix of the corpus.
        config: what to build; the defaults of `CorpusConfig` if None.
        remove_unlisted: make the next release without the recordings that are not in the input any more. By default they stay.
        allow_empty: commit a release even if none of the recordings can be used.
        require_consent: build nothing unless every recording of the release has a grant or an open licence (docs/safety.md).
        ledger: consent ledger to ask; that of this machine if None, and none if there is none.
        runner_args: Beam options, such as "--runner=SparkRunner". By default Beam runs on this machine, one worker per core.
        on_progress: called with an event at every change of phase and about twice a second while the graph runs, from the
            calling thread or another.

    Raises a VoxbeamError. A recording that cannot be used is no error: the release lists it as quarantined. All of them are an
    EmptyReleaseError.
    """
    observer = BuildObserver(on_progress)
    config = read_overlays(config or CorpusConfig())
    pin_threads()
    runner = RunnerOptions(runner_args)
    runner.require_bucket_uris([output_uri])
    beam_options = PipelineOptions(runner.with_defaults(output_uri, config.device))
    store = Store(output_uri)
    store.require_conditional_create()
    require_temporary_folder()
    run_id, info = uuid.uuid4().hex[:8], BuildInfo(detached=runner.detached, local=runner.local_workers() > 0)
    with heartbeat(store, run_id, info) as announce:
        require_no_collection(store)
        result = _build(
            input_uri,
            store,
            config,
            runner,
            beam_options,
            observer,
            run_id,
            info,
            announce,
            Ledger(ledger),
            collection=last_collection(store),
            remove_unlisted=remove_unlisted,
            allow_empty=allow_empty,
            require_consent=require_consent,
        )
    if not runner.detached:
        clear_progress(store, run_id)
    return result


def _build(
    input_uri: str,
    store: Store,
    config: CorpusConfig,
    runner: RunnerOptions,
    beam_options: PipelineOptions,
    observer: BuildObserver,
    run_id: str,
    info: BuildInfo,
    announce: Callable[[], None],
    consent: Ledger,
    *,
    collection: str,
    remove_unlisted: bool,
    allow_empty: bool,
    require_consent: bool,
) -> BuildResult:
    """The build, while its heartbeat shows that it runs."""
    others = sorted(set(running_builds(store)) - {run_id})
    message = f"Build {', '.join(others)} is running on this corpus too: both do the same work" if others else None
    observer.report("list", message=message)
    found = discover(input_uri, config.listing)
    for note in found.notes:
        observer.report("list", message=note)
    recordings, left_out = _without_taken_down(store, found.recordings, observer), found.left_out
    kept = _kept_recordings(store, recordings) if require_consent and not remove_unlisted else []
    basis = check_basis([*recordings, *kept], consent, required=require_consent)
    runner.require_bucket_uris(recording.uri for recording in recordings)
    listing, observer.recordings = put_listing(store, recordings), len(recordings)
    observer.report("hash_models")
    hashes = model_hashes(config)
    run = partial(run_job, runner=runner, beam_options=beam_options, observer=observer)
    healed = WorkerProgress()
    if not runner.detached:  # a detached job cannot be waited for
        healed = heal(store, hashes, run_id, collection, partial(put_listing, store), recordings, run, observer)
    previous = latest_release(store)
    unit_fingerprint = fingerprint(config, hashes, CODE_VERSION)
    changes, useful_workers = Changes(), None
    config = resolve_identities(store, previous, config)
    if previous is not None:
        require_decisions_kept(previous.name, previous.config, config)
        changes = changes_since(store, previous, recordings, config, unit_fingerprint, hashes, remove_unlisted=remove_unlisted)
        if message := changes.unlisted_message(previous.name):
            observer.report("hash_models", message=message)
        if not (changes.new or changes.invalidates_units or changes.listing or changes.damage or previous.counts.get("partial")):
            useful_workers = workers_to_probe(previous.counts, config)
    del found, recordings  # the driver lives as long as the build
    observer.report("run", message=f"Changed since release {previous.name}: {changes}" if previous and changes else None)
    job = Job(
        output=store.root,
        listing=listing,
        config=without_decisions(config),
        policy_path=put_policy(store, Policy.of(config)),
        fingerprint=unit_fingerprint,
        model_hashes=hashes,
        number=(previous.number if previous else 0) + 1,
        previous=previous.number if previous else None,
        extends_previous=previous is not None and not changes,
        recordings=observer.recordings,
        allow_empty=allow_empty,
        run_id=run_id,
        useful_workers=useful_workers,
        local=runner.local_workers() > 0,
        collection=collection,
    )
    info.recordings, info.release = observer.recordings, job.number
    announce()
    with observer.live_progress(store, job.run_id):
        job_id = run(job)
    if runner.detached:
        return BuildResult(
            release=None,
            number=job.number,
            committed=False,
            job_id=job_id,
            progress=WorkerProgress(),
            wall_s=observer.elapsed_s,
            changes=changes,
            left_out=left_out,
            basis=basis,
        )
    progress = read_progress(store, job.run_id)
    progress.add(healed)
    committed = job.number in release_numbers(store)
    release = read_release(store, job.number) if committed else previous
    assert release is not None
    if committed:
        write_record(
            store,
            release=job.number,
            run_id=run_id,
            wall_s=observer.elapsed_s,
            recordings=observer.recordings,
            libraries=hashes["libraries"],
            workers=progress,
        )
    return BuildResult(
        release=release,
        number=release.number,
        committed=committed,
        job_id=job_id,
        progress=progress,
        wall_s=observer.elapsed_s,
        changes=changes,
        left_out=left_out,
        basis=basis,
        identity_changes=identity_changes(store, previous, release) if committed and previous is not None else (),
    )


def _without_taken_down(store: Store, recordings: Sequence[Recording], observer: BuildObserver) -> Sequence[Recording]:
    """The listed recordings but for those that were taken down, of which the user is told."""
    tombstones = read_tombstones(store)
    left = [one for one in recordings if not tombstones.naming(one.recording)] if tombstones else recordings
    if count := len(recordings) - len(left):
        observer.report("list", message=f"{count} recordings of the input were taken down ({FOLDER}), and are left out")
    return left


def _kept_recordings(store: Store, listed: Sequence[Recording]) -> list[Recording]:
    """The recordings of the latest release that are not listed now: the next release keeps them."""
    previous, names = latest_release(store), {recording.recording for recording in listed}
    return [row for row in read_rows(store, previous, RecordingRow) if row.recording not in names] if previous else []


def put_listing(store: Store, recordings: Sequence[Recording]) -> str:
    """Writes the listing as an object and returns its path.

    The largest local files come first, so that the last worker does not wait for a long one.
    """
    sized = [(-local_size(recording.uri), recording) for recording in recordings]
    in_order = [recording for _, recording in sorted(sized, key=lambda pair: (pair[0], pair[1].recording))]
    sink = io.BytesIO()
    pq.write_table(to_table(Recording, in_order), sink, compression="zstd")
    path = f"listings/{hashlib.sha256(sink.getvalue()).hexdigest()[:16]}.parquet"
    store.put_named_by_content(path, sink.getvalue())
    return path
