"""`voxbeam plan`, `build`, `status`, `verify` and `gc`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voxbeam.commands.beam_options import BuildCommand
from voxbeam.commands.command import Finite, VoxbeamCommand, json_option
from voxbeam.commands.exit_status import CONFLICT, DONE, QUARANTINED, WORKER_LOST, WRONG

if TYPE_CHECKING:
    from voxbeam.pipeline.events import VerifyProgress
    from voxbeam.schemas.config import CorpusConfig

F = TypeVar("F", bound=Callable[..., Any])

output_option = click.option("--output", required=True, metavar="URI", help="Folder or bucket of the corpus.")


def input_options(command: F) -> F:
    """What `plan` and `build` read."""
    for option in (
        click.option("--codec", metavar="NAME", help="Overrides tokenize.codec: embedded, encodec_24khz, a path, …"),
        click.option("--config", metavar="URI", help="Configuration file in YAML; `voxbeam config` prints every key."),
        click.option(
            "--input", "input_uri", required=True, metavar="URI", help="Folder, bucket or listing (CSV, JSON, Parquet, …)."
        ),
    ):
        command = option(command)
    return command


def read_config(uri: str | None, codec: str | None) -> CorpusConfig:
    """The configuration at a path or bucket address (None: the defaults), with another codec if one is named."""
    from voxbeam.schemas.config import CorpusConfig
    from voxbeam.storage.address import resolve_address

    config = CorpusConfig() if uri is None else CorpusConfig.from_yaml(resolve_address(uri))
    if codec is None:
        return config
    return config.model_copy(update={"tokenize": config.tokenize.model_copy(update={"codec": codec})})


@click.command(
    cls=VoxbeamCommand,
    examples=[
        "voxbeam plan --input /data/librilight",
        "voxbeam plan --input s3://speech/list.parquet --config corpus.yaml --output s3://corpora/librilight",
    ],
)
@input_options
@click.option("--output", metavar="URI", help="Also say what a build into this corpus would do again, stage by stage.")
@click.option(
    "--sample-minutes", type=Finite(0, min_open=True), default=3.0, show_default=True, help="Minutes of speech to measure."
)
@click.option("--device", type=click.Choice(["cuda"]), help="Estimate for one GPU too, from measured rates (docs/gpu.md).")
@json_option
def plan(
    input_uri: str,
    config: str | None,
    codec: str | None,
    output: str | None,
    sample_minutes: float,
    device: str | None,
    as_json: bool,
) -> int:
    """Estimate what a build takes: hours, samples, bytes and time.

    Runs every stage on a small sample of the input and scales the result. Builds nothing.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.display import showing_plan
    from voxbeam.commands.documents import plan_document
    from voxbeam.commands.plan_report import print_gpu_plan, print_plan
    from voxbeam.pipeline.gpu_rates import load_rates
    from voxbeam.pipeline.plan import plan as make_plan

    settings = read_config(config, codec)
    if device is not None:  # the sample runs on this machine's CPU; GPU stages then take their measured rates
        settings = settings.model_copy(update={"device": "cpu"})
    with showing_plan(terminal.stderr()) as show:
        result = make_plan(input_uri, settings, output_uri=output, sample_minutes=sample_minutes, on_progress=show)
    rates = load_rates() if device is not None else None
    print_plan(result, terminal.results(as_json))
    if device is not None:
        print_gpu_plan(result, rates, terminal.results(as_json))
    if as_json:
        terminal.print_json(plan_document(result, rates, gpu=device is not None))
    return DONE


@click.command(
    cls=BuildCommand,
    examples=[
        "voxbeam build --input /data/librilight --output /data/corpus",
        "voxbeam build --input in --output out --config corpus.yaml --direct_num_workers=2",
        "voxbeam build --input s3://speech/librilight --output s3://corpora/librilight \\\n"
        "    --runner=SparkRunner --spark_master_url=spark://master:7077",
    ],
    statuses=[QUARANTINED, CONFLICT, WORKER_LOST],
)
@input_options
@output_option
@click.option("--remove-unlisted", is_flag=True, help="Next release without recordings taken out of the input.  [default: keep]")
@click.option("--allow-empty", is_flag=True, help="Commit even if none of the recordings can be used.")
@click.option("--allow-quarantine", is_flag=True, help="Exit with 0 even if recordings are in quarantine.")
@click.option("--require-consent", is_flag=True, help="Build only if every recording has a grant or an open licence.")
@click.option("--ledger", metavar="URI", help="Consent ledger to ask.  [default: $VOXBEAM_LEDGER, or that of this user]")
@json_option
@click.pass_obj
def build(
    runner_options: list[str],
    input_uri: str,
    config: str | None,
    codec: str | None,
    output: str,
    remove_unlisted: bool,
    allow_empty: bool,
    allow_quarantine: bool,
    require_consent: bool,
    ledger: str | None,
    as_json: bool,
) -> int:
    """Build a corpus, or extend one with new recordings.

    A build can be stopped at any time: the same command resumes it, and the result has the same bytes. Recordings that cannot be
    used go to quarantine; the build goes on.

    Every other option is an option of Apache Beam. --runner chooses where the build runs: worker processes on this machine
    (default; one per core, or one in all if no model has to run; --direct_num_workers=N sets their number), SparkRunner,
    FlinkRunner, PortableRunner or DataflowRunner, each with its own options (docs/spark.md, docs/dataflow.md). An option that
    neither voxbeam nor Beam knows is an error. Words after a bare -- go to the runner unread: use it for options of a job server
    that Beam's Python side does not know.
    """
    from voxbeam.pipeline.runners import fork_server
    from voxbeam.pipeline.runners.options import RunnerOptions

    if RunnerOptions(runner_options).local_workers() > 1 and not _is_built(output):
        fork_server.start()  # imports in the background what the workers will need

    from voxbeam.commands import terminal
    from voxbeam.commands.display import showing_build
    from voxbeam.commands.documents import build_document
    from voxbeam.commands.report import print_result, quarantined
    from voxbeam.pipeline.build import build as run_build
    from voxbeam.storage.store import Store

    with showing_build(output, terminal.stderr()) as show:
        result = run_build(
            input_uri,
            output,
            read_config(config, codec),
            remove_unlisted=remove_unlisted,
            allow_empty=allow_empty,
            require_consent=require_consent,
            ledger=ledger,
            runner_args=runner_options,
            on_progress=show,
        )
    store = Store(output)
    print_result(result, store, terminal.results(as_json))
    quarantine = quarantined(store, result.release) if result.release else []
    if as_json:
        terminal.print_json(build_document(store.root, result, quarantine))
    failed = [row for row in quarantine if row.recording not in result.changes.unlisted_quarantine]
    return QUARANTINED if failed and not allow_quarantine else DONE


def _is_built(output: str) -> bool:
    """Whether a local folder has releases: then a build may have little to do, which needs no workers."""
    from voxbeam.storage.store import Store, is_bucket, local_path

    root = Store(output).root
    return not is_bucket(root) and (local_path(root) / "releases").is_dir()


@click.command(cls=VoxbeamCommand, examples=["voxbeam status --output s3://corpora/librilight"])
@output_option
@json_option
def status(output: str, as_json: bool) -> int:
    """Show the releases of a corpus and the progress of its builds.

    Works while a build runs, on any machine that can read the corpus.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.documents import status_document
    from voxbeam.commands.status import print_status
    from voxbeam.pipeline.status import read_status

    found = read_status(output)
    print_status(found, terminal.results(as_json))
    if as_json:
        terminal.print_json(status_document(found))
    return DONE


@click.command(
    cls=VoxbeamCommand,
    short_help="Check every byte and every row of a release.",
    examples=[
        "voxbeam verify --output /data/corpus",
        "voxbeam verify --output /data/corpus --release 3 --recheck 0.01 --rederive 2",
    ],
    statuses=[WRONG],
)
@output_option
@click.option("--release", type=int, metavar="NUMBER", help="Release to verify.  [default: the latest]")
@click.option(
    "--recheck",
    type=Finite(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Probe this share of the sources again, e.g. 0.01.",
)
@click.option("--rederive", type=click.IntRange(0), default=0, metavar="N", help="Make N units again and compare them.")
@click.option("--repair", is_flag=True, help="Delete damaged files for the next build to make again; put back damaged releases.")
@json_option
def verify(output: str, release: int | None, recheck: float, rederive: int, repair: bool, as_json: bool) -> int:
    """Check every byte and every row of a release, and list what is wrong.

    --recheck also compares sources with what the release says of them, and --rederive units with what the stages make of them
    now. A source that cannot be reached is counted, and is no problem. --repair deletes the files of the release whose SHA-256
    differs and nothing else; the `voxbeam build` command of the corpus then makes them again from finished units. A damaged
    file in releases/ is put back from its copy, with the bytes that it had.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.documents import verify_document
    from voxbeam.commands.report import print_checked_again, print_problems
    from voxbeam.pipeline.repair import delete_damaged, restore_releases
    from voxbeam.pipeline.verify import verify as run_verify
    from voxbeam.storage.releases import load_release
    from voxbeam.storage.store import Store

    store = Store(output)
    restored = restore_releases(store) if repair else []
    found = load_release(store, release)
    events: dict[str, VerifyProgress] = {}
    with terminal.stderr().status(f"Verifying release {found.name}"):
        problems = run_verify(
            output,
            found.number,
            recheck=recheck,
            rederive=rederive,
            on_progress=lambda event: events.update({event.phase: event}),
        )
    deleted = delete_damaged(store, found, [problem.where for problem in problems]) if repair else []
    print_problems(found, problems, terminal.results(as_json))
    print_checked_again(events, deleted, restored, terminal.results(as_json))
    if as_json:
        terminal.print_json(verify_document(store.root, found, problems, events, deleted, restored))
    return WRONG if problems else DONE


@click.command(
    cls=VoxbeamCommand,
    examples=["voxbeam gc --output /data/corpus --dry-run", "voxbeam gc --output /data/corpus --older-than 168 --json"],
)
@output_option
@click.option(
    "--older-than",
    type=Finite(0, 1_000_000),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Objects younger than this are kept.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
@json_option
def gc(output: str, older_than: float, dry_run: bool, as_json: bool) -> int:
    """Delete what no release refers to.

    Killed builds leave units, shards and manifests behind. Units that a later build could reuse are among them, so only
    old objects go, and nothing goes while a build runs.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.documents import gc_document
    from voxbeam.commands.report import print_orphans
    from voxbeam.pipeline.gc import collect_garbage

    orphans = collect_garbage(output, timedelta(hours=older_than), dry_run=dry_run)
    print_orphans(orphans, older_than, dry_run, terminal.results(as_json))
    if as_json:
        terminal.print_json(gc_document(output, dry_run, orphans))
    return DONE
