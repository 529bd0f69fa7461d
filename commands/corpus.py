"""`voxbeam plan`, `build`, `status`, `verify`, `gc` and `config`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from voxbeam.commands.beam_options import BuildCommand
from voxbeam.commands.command import VoxbeamCommand
from voxbeam.commands.exit_status import CONFLICT, DONE, QUARANTINED, WORKER_LOST, WRONG

if TYPE_CHECKING:
    from voxbeam.schemas.config import CorpusConfig

F = TypeVar("F", bound=Callable[..., Any])

output_option = click.option("--output", required=True, metavar="URI", help="Folder or bucket of the corpus.")


def input_options(command: F) -> F:
    """What `plan` and `build` read."""
    for option in (
        click.option("--codec", metavar="NAME", help="Overrides tokenize.codec: embedded, encodec_24khz, a path, …"),
        click.option("--config", metavar="URI", help="Configuration file in YAML; `voxbeam config` prints every key."),
        click.option(
            "--input", "input_uri", required=True, metavar="URI", help="Folder, bucket or listing (.parquet, .jsonl, .csv)."
        ),
    ):
        command = option(command)
    return command


def read_config(uri: str | None, codec: str | None) -> CorpusConfig:
    """The configuration at a path or bucket address (None: the defaults), with another codec if one is named."""
    from voxbeam.schemas.config import load_config
    from voxbeam.schemas.errors import ConfigError
    from voxbeam.storage.store import open_local

    try:
        if uri is None:
            config = load_config(None)
        else:
            with open_local(uri) as path:
                config = load_config(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration at {uri}") from error
    except ConfigError as error:
        raise ConfigError(error.message.replace(str(path), str(uri)), remedy=error.remedy) from error
    if codec is None:
        return config
    return config.model_copy(update={"tokenize": config.tokenize.model_copy(update={"codec": codec})})


@click.command(
    cls=VoxbeamCommand,
    examples=["voxbeam plan --input /data/librilight", "voxbeam plan --input s3://speech/list.parquet --config corpus.yaml"],
)
@input_options
@click.option("--sample-minutes", type=float, default=3.0, show_default=True, help="Minutes of speech to measure.")
def plan(input_uri: str, config: str | None, codec: str | None, sample_minutes: float) -> int:
    """Estimate what a build takes: hours, samples, bytes and time.

    Runs every stage on a small sample of the input and scales the result. Builds nothing.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.display import showing_plan
    from voxbeam.commands.plan_report import print_plan
    from voxbeam.pipeline.plan import plan as make_plan

    with showing_plan(terminal.stderr()) as show:
        result = make_plan(input_uri, read_config(config, codec), sample_minutes=sample_minutes, on_progress=show)
    print_plan(result, terminal.stdout())
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
@click.option("--allow-quarantine", is_flag=True, help="Exit with 0 even if recordings are in quarantine.")
@click.pass_obj
def build(
    runner_options: list[str], input_uri: str, config: str | None, codec: str | None, output: str, allow_quarantine: bool
) -> int:
    """Build a corpus, or extend one with new recordings.

    A build can be stopped at any time: the same command resumes it, and the result has the same bytes. Recordings that cannot be
    used go to quarantine; the build goes on.

    Every other option is an option of Apache Beam. --runner chooses where the build runs: worker processes on this machine
    (default; --direct_num_workers=N sets their number), SparkRunner, FlinkRunner, PortableRunner or DataflowRunner, each with its
    own options (docs/spark.md, docs/dataflow.md). An option that neither voxbeam nor Beam knows is an error. Words after a
    bare -- go to the runner unread: use it for options of a job server that Beam's Python side does not know.
    """
    from voxbeam.pipeline.runners import fork_server
    from voxbeam.pipeline.runners.options import RunnerOptions

    if RunnerOptions(runner_options).local_workers() > 1:
        fork_server.start()  # imports in the background what the workers will need

    from voxbeam.commands import terminal
    from voxbeam.commands.display import showing_build
    from voxbeam.commands.report import print_result
    from voxbeam.pipeline.build import build as run_build
    from voxbeam.storage.store import Store

    with showing_build(output, terminal.stderr()) as show:
        result = run_build(input_uri, output, read_config(config, codec), runner_args=runner_options, on_progress=show)
    print_result(result, Store(output), terminal.stdout())
    quarantined = result.release.counts["quarantined"] if result.release else 0
    return QUARANTINED if quarantined and not allow_quarantine else DONE


@click.command(cls=VoxbeamCommand, examples=["voxbeam status --output s3://corpora/librilight"])
@output_option
def status(output: str) -> int:
    """Show the releases of a corpus and the progress of its builds.

    Works while a build runs, on any machine that can read the corpus.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.status import print_status
    from voxbeam.pipeline.status import read_status

    print_status(read_status(output), terminal.stdout())
    return DONE


@click.command(
    cls=VoxbeamCommand,
    short_help="Check every byte and every row of a release.",
    examples=["voxbeam verify --output /data/corpus", "voxbeam verify --output /data/corpus --release 3"],
    statuses=[WRONG],
)
@output_option
@click.option("--release", type=int, metavar="NUMBER", help="Release to verify.  [default: the latest]")
def verify(output: str, release: int | None) -> int:
    """Check every byte and every row of a release, and list what is wrong."""
    from voxbeam.commands import terminal
    from voxbeam.pipeline.verify import verify_release
    from voxbeam.storage.releases import load_release
    from voxbeam.storage.store import Store

    store = Store(output)
    found = load_release(store, release)
    with terminal.stderr().status(f"Verifying release {found.name}"):
        problems = list(verify_release(store, found))
    if not problems:
        counts = f"{len(found.files)} files, {found.counts['samples']} samples"
        terminal.stdout().print(f"Release {found.name} verified: {counts}, no problems")
        return DONE
    table = terminal.new_table("where", "problem", left=("problem",))
    for problem in problems:
        table.add_row(problem.where, problem.what)
    terminal.print_table(terminal.stdout(), f"Release {found.name} failed verification", table)
    return WRONG


@click.command(
    cls=VoxbeamCommand,
    examples=["voxbeam gc --output /data/corpus --dry-run", "voxbeam gc --output /data/corpus --older-than 168"],
)
@output_option
@click.option(
    "--older-than", type=float, default=24.0, show_default=True, metavar="HOURS", help="Objects younger than this are kept."
)
@click.option("--dry-run", is_flag=True, help="Only list what would be deleted.")
def gc(output: str, older_than: float, dry_run: bool) -> int:
    """Delete what no release refers to.

    Killed builds leave units, shards and manifests behind. Units that a later build could reuse are among them, so only
    old objects go, and nothing goes while a build runs.
    """
    from voxbeam.commands import terminal
    from voxbeam.pipeline.gc import collect_garbage

    orphans = collect_garbage(output, timedelta(hours=older_than), dry_run=dry_run)
    console = terminal.stdout()
    if not orphans:
        console.print(f"Nothing to delete: every object older than {older_than:g} hours belongs to a release")
        return DONE
    count, size = Counter(orphan.folder for orphan in orphans), Counter[str]()
    for orphan in orphans:
        size[orphan.folder] += orphan.bytes
    table = terminal.new_table("folder", "objects", "MB")
    for folder in sorted(count):
        table.add_row(folder, str(count[folder]), f"{size[folder] / 1e6:.1f}")
    terminal.print_table(console, "Would be deleted (--dry-run)" if dry_run else "Deleted", table)
    return DONE


@click.command(
    cls=VoxbeamCommand, short_help="Print the default configuration, with comments.", examples=["voxbeam config > corpus.yaml"]
)
def config() -> int:
    """Print the whole configuration with its defaults, as commented YAML."""
    from voxbeam.schemas.config import CorpusConfig, commented_yaml

    sys.stdout.write(commented_yaml(CorpusConfig()))
    return DONE
