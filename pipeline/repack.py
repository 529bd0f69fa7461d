"""Repack: a new release of the units of the latest one by another policy. Neither sound nor models are needed."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from voxbeam.models.phones import load_phone_set, phonemizer_version
from voxbeam.models.threads import pin_threads
from voxbeam.pipeline.build_record import write_record
from voxbeam.pipeline.collection_mark import last_collection, require_no_collection
from voxbeam.pipeline.events import BuildObserver, BuildProgress
from voxbeam.pipeline.excluded_identities import resolve_identities
from voxbeam.pipeline.heartbeat import BuildInfo, heartbeat
from voxbeam.pipeline.job import Job
from voxbeam.pipeline.model_fingerprints import calibration_hash
from voxbeam.pipeline.policy_names import found_in_tables, named, unknown_names
from voxbeam.pipeline.preview import OnJudged, Preview, preview
from voxbeam.pipeline.progress import clear_progress, read_progress
from voxbeam.pipeline.release_diff import changed_settings, repacking_changes
from voxbeam.pipeline.runners.launch import run_job
from voxbeam.pipeline.runners.options import RunnerOptions
from voxbeam.pipeline.runners.useful_workers import workers_to_pack
from voxbeam.pipeline.steps.policy_object import put_policy
from voxbeam.schemas.config import CorpusConfig
from voxbeam.schemas.config_file import read_sections
from voxbeam.schemas.errors import ConfigError, ModelError, StorageError
from voxbeam.schemas.fingerprint import EVIDENCE_VERSION
from voxbeam.schemas.policy import DECISIONS, Policy, inherited_decisions, with_decisions, with_settings, without_decisions
from voxbeam.schemas.release import Release
from voxbeam.storage.environment import require_temporary_folder
from voxbeam.storage.overlays import read_overlays
from voxbeam.storage.releases import load_release, read_release
from voxbeam.storage.store import Store


@dataclass(frozen=True, kw_only=True)
class ReleaseResult:
    """The result of `release`."""

    previous: Release
    release: Release | None
    """the latest release; None after a dry run"""
    committed: bool
    """whether it is new; false also when the policy is that of the previous release"""
    changes: tuple[str, ...]
    """settings and decisions that differ from the previous release's"""
    preview: Preview | None
    """of a dry run"""
    inherited: tuple[str, ...] = field(default=())
    """decisions of the previous release that stay though the policy names overlays without them"""
    unknown: tuple[str, ...] = field(default=())
    """what the policy names and the corpus does not have"""
    wall_s: float


def release(
    output_uri: str,
    policy: Mapping[str, Any] | CorpusConfig | str | Path,
    *,
    dry_run: bool = False,
    allow_empty: bool = False,
    runner_args: Sequence[str] = (),
    on_progress: Callable[[BuildProgress], None] | None = None,
    on_judged: OnJudged | None = None,
) -> ReleaseResult:
    """Makes a new release of the same units by another policy, or says what it would be.

    Args:
        output_uri: folder or bucket prefix of the corpus.
        policy: sections of a configuration, as a mapping, a file or a CorpusConfig. What it does not set stays as it is in the
            latest release. It may set `filter`, `purity`, `exclude`, `corrections`, `overlays`, `link_speakers`, `identify` and
            `pack`; anything else, if it differs, needs a build.
        dry_run: read the units and compare the two policies; write nothing.
        allow_empty: commit a release without samples even where the latest one has some.
        runner_args: Beam options, as for `build`.
        on_progress: called with events, as by `build`.
        on_judged: of a dry run: called for each recording with what becomes of its segments by both policies.

    Raises a VoxbeamError: ConfigError for what needs a build, StorageError where there is no release, EmptyReleaseError.
    """
    observer = BuildObserver(on_progress)
    pin_threads()
    store = Store(output_uri)
    previous = load_release(store)
    _require_evidence(previous)
    tree, where = _policy_tree(policy)
    config = resolve_identities(store, previous, read_overlays(_merge_policy(previous, tree, where)))
    changes = repacking_changes(previous, config)
    models = {**previous.models, "identify": calibration_hash(config)}
    if models != previous.models:
        changes = [*changes, "the calibration of identities, or the library that finds neighbors"]
    _require_same_phones(previous, config)
    own = resolve_identities(store, previous, _decided_by(tree)) if tree.get("overlays") else config
    inherited = inherited_decisions(config, own)
    found: dict[str, Any] = {"previous": previous, "changes": tuple(changes), "inherited": tuple(inherited)}
    if dry_run:
        seen = preview(store, previous, config, observer, on_judged)
        unknown = unknown_names(config, seen.found)
        return ReleaseResult(**found, release=None, committed=False, preview=seen, unknown=unknown, wall_s=observer.elapsed_s)
    if not changes:
        return ReleaseResult(**found, release=previous, committed=False, preview=None, wall_s=observer.elapsed_s)
    empty = allow_empty or not previous.counts.get("samples")
    made = _run(store, previous, config, models, RunnerOptions(runner_args), observer, empty)
    unknown = unknown_names(config, found_in_tables(store, (previous, made), named(config)))
    return ReleaseResult(**found, release=made, committed=True, preview=None, unknown=unknown, wall_s=observer.elapsed_s)


def _policy_tree(policy: Mapping[str, Any] | CorpusConfig | str | Path) -> tuple[dict[str, Any], str]:
    """What a policy sets, and how a message about it begins."""
    if isinstance(policy, str | Path):
        return _read_tree(policy), f"{policy}: "
    return (policy.model_dump(mode="json", exclude_unset=True) if isinstance(policy, CorpusConfig) else dict(policy)), ""


def _decided_by(tree: dict[str, Any]) -> CorpusConfig:
    """The decisions of a policy and of its overlays alone, without those of the release."""
    return read_overlays(CorpusConfig.model_validate({name: tree[name] for name in (*DECISIONS, "overlays") if name in tree}))


def _merge_policy(previous: Release, tree: Mapping[str, Any], where: str) -> CorpusConfig:
    """The configuration of a release with what a policy sets. Raises ConfigError for settings that need a build."""
    before, config = with_settings(previous, {}, where), with_settings(previous, tree, where)
    if needs_build := changed_settings(before, config):
        raise ConfigError(
            f"{where}not only a policy: {'; '.join(needs_build)}",
            remedy="leave these out to release the same units, or run `voxbeam build` with them",
        )
    return config


def _read_tree(uri: str | Path) -> dict[str, Any]:
    tree = read_sections(uri)
    if not isinstance(tree, dict):
        raise ConfigError(f"{uri} is no configuration: it has no sections")
    return tree


def _require_evidence(release: Release) -> None:
    if release.code_version < EVIDENCE_VERSION:
        raise StorageError(
            f"release {release.name} was made by an earlier voxbeam, whose units lack what its rules rejected",
            remedy="run the `voxbeam build` command of the corpus once: it makes every unit again, and a new release",
        )


def _require_same_phones(release: Release, config: CorpusConfig) -> None:
    """Raises ModelError when the phones of a corrected text, or the phone set, would not be those of the release."""
    here = {"phonemize.inventory": load_phone_set(config.phonemize.voice).sha256}
    if config.corrections.texts:
        here["phonemize.espeak"] = phonemizer_version()
    if differing := [name for name, value in here.items() if release.models[name] != value]:
        name = differing[0]
        raise ModelError(
            f"release {release.name} was made with {name} {release.models[name][:12]}, here is {here[name][:12]}",
            remedy="install that version, or run `voxbeam build`, which makes the phones of the whole corpus again",
        )


def _run(
    store: Store,
    previous: Release,
    config: CorpusConfig,
    models: dict[str, str],
    runner: RunnerOptions,
    observer: BuildObserver,
    allow_empty: bool,
) -> Release:
    store.require_conditional_create()
    require_temporary_folder()
    runner.require_bucket_uris([store.root])
    if runner.detached:
        raise ConfigError("a release is waited for", remedy="leave out the options that detach the job")
    policy, run_id, info = Policy.of(config), uuid.uuid4().hex[:8], BuildInfo(local=runner.local_workers() > 0)
    with heartbeat(store, run_id, info) as announce:
        require_no_collection(store)
        job = Job(
            output=store.root,
            listing="",
            config=without_decisions(config),
            policy_path=put_policy(store, policy),
            fingerprint=previous.fingerprint,
            model_hashes=models,
            number=previous.number + 1,
            previous=previous.number,
            extends_previous=False,
            recordings=previous.counts["recordings"],
            allow_empty=allow_empty,
            run_id=run_id,
            collection=last_collection(store),
            repacks=True,
            useful_workers=workers_to_pack(previous.counts, config),
            code_version=previous.code_version,
        )
        info.recordings, info.release = job.recordings, job.number
        observer.recordings = job.recordings
        announce()
        assert with_decisions(job.config, policy) == config
        with observer.live_progress(store, run_id):
            run_job(job, runner, PipelineOptions(runner.with_defaults(store.root, config.device)), observer)
        progress = read_progress(store, run_id)
        write_record(
            store,
            release=job.number,
            run_id=run_id,
            wall_s=observer.elapsed_s,
            recordings=job.recordings,
            libraries=models["libraries"],
            workers=progress,
        )
    clear_progress(store, run_id)
    return read_release(store, job.number)
