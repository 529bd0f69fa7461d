"""voxbeam's command line. It reads arguments, hands over to `pipeline`, and turns what comes back into an exit status.

0: done. 1: `verify` found something wrong. 2: the command, the configuration or the input cannot be used.
3: done, but recordings are in quarantine. 4: another build committed first; run the same command again.
5: a worker process was lost; run the same command again.
"""

import argparse
import logging
import os
import sys
from datetime import timedelta
from typing import NoReturn

os.environ.setdefault("PYANNOTE_METRICS_ENABLED", "0")  # pyannote.audio would report home otherwise

from obstore.exceptions import BaseError
from rich.console import Console
from rich.table import Table

from voxbeam.pipeline.runners import fork_server
from voxbeam.pipeline.runners.options import RunnerOptions
from voxbeam.schemas.config import CorpusConfig, commented_yaml, load_config
from voxbeam.schemas.errors import (
    CommitConflictError,
    ConfigError,
    ListingError,
    ModelError,
    RunnerError,
    SchemaError,
    StorageError,
    WorkerLostError,
)
from voxbeam.storage.store import Store, first_line, open_local

OK, WRONG, UNUSABLE, QUARANTINED, RACE_LOST, WORKER_LOST = 0, 1, 2, 3, 4, 5


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="voxbeam", description="From raw long speech to a corpus of codec tokens.")
    top.add_argument("--log-level", default="ERROR", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    commands = top.add_subparsers(dest="command", required=True)

    demo = commands.add_parser("demo", help="build a small corpus from the speech that ships with voxbeam, and show it")
    demo.add_argument("--output", default="demo-corpus", help="folder of the demo corpus (default: %(default)s)")

    plan = commands.add_parser("plan", help="say what a build would take, from a measured sample; build nothing")
    build = commands.add_parser("build", help="build or extend a corpus; other options go to Beam (--runner=…)")
    for command in (plan, build):
        command.add_argument("--input", required=True, help="folder, bucket, or listing (.parquet, .jsonl, .csv) of recordings")
        command.add_argument("--config", help="corpus.yaml, by path or bucket address; `voxbeam config` prints all keys")
        command.add_argument("--codec", help="tokenize.codec of the configuration: embedded, encodec_24khz, a path, ...")
    plan.add_argument("--sample-minutes", type=float, default=3.0, help="how much speech to measure on (default: %(default)s)")
    build.add_argument("--output", required=True, help="folder or bucket of the corpus")
    build.add_argument("--allow-quarantine", action="store_true", help="exit with 0 although recordings were quarantined")

    gc = commands.add_parser("gc", help="delete what no release refers to: leftovers of killed builds and lost races")
    gc.add_argument("--older-than", type=float, default=24.0, metavar="HOURS", help="younger objects stay (default: %(default)s)")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    gc.add_argument("--output", required=True, help="folder or bucket of the corpus")

    for name, text in (
        ("status", "what lies in a corpus, and what a build is doing"),
        ("verify", "check every byte and law of a release"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--output", required=True, help="folder or bucket of the corpus")
    commands.choices["verify"].add_argument("--release", type=int, help="number of the release (default: the latest)")
    commands.add_parser("config", help="print the whole configuration with its defaults, as YAML")
    return top


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments, rest = parser().parse_known_args(argv)
    if rest and arguments.command != "build":
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    logging.basicConfig(level=arguments.log_level, format="%(levelname)s %(name)s: %(message)s", force=True)
    console = Console()
    if arguments.command in ("build", "demo") and RunnerOptions(rest).local_workers() > 1:
        fork_server.start()  # imports in the background what the workers will need

    try:
        return COMMANDS[arguments.command](arguments, rest, console)
    except (ConfigError, ListingError, ModelError, RunnerError, StorageError, SchemaError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        return UNUSABLE
    except BaseError as error:
        console.print(
            f"[red]storage:[/red] {first_line(error)}; check the address, the credentials and the endpoint", highlight=False
        )
        return UNUSABLE
    except CommitConflictError as error:
        console.print(f"[yellow]not committed:[/yellow] {error}", highlight=False)
        return RACE_LOST
    except WorkerLostError as error:
        console.print(f"[red]stopped:[/red] {error}", highlight=False)
        return WORKER_LOST


def _demo(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    from voxbeam.commands.demo import run_demo

    return OK if run_demo(arguments.output, console) else WRONG


def _file_of(config: str | None) -> CorpusConfig:
    if config is None:
        return load_config(None)
    try:
        with open_local(config) as path:
            return load_config(path)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration at {config}") from error
    except ConfigError as error:
        raise ConfigError(str(error).replace(str(path), config)) from error


def _configuration(arguments: argparse.Namespace) -> CorpusConfig:
    config = _file_of(arguments.config)
    if arguments.codec is None:
        return config
    return config.model_copy(update={"tokenize": config.tokenize.model_copy(update={"codec": arguments.codec})})


def _plan(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    from voxbeam.commands.plan_report import print_plan
    from voxbeam.pipeline.plan import plan

    print_plan(plan(arguments.input, _configuration(arguments), sample_minutes=arguments.sample_minutes), console)
    return OK


def _build(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    from voxbeam.commands.display import showing_progress
    from voxbeam.commands.report import print_result
    from voxbeam.pipeline.build import build

    with showing_progress(arguments.output, console) as show:
        result = build(arguments.input, arguments.output, _configuration(arguments), runner_args=rest, on_progress=show)
    print_result(result, Store(arguments.output), console)
    quarantined = result.release.counts["quarantined"] if result.release else 0
    return QUARANTINED if quarantined and not arguments.allow_quarantine else OK


def _status(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    from voxbeam.commands.status import print_status
    from voxbeam.pipeline.status import read_status

    print_status(read_status(arguments.output), console)
    return OK


def _gc(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    from voxbeam.pipeline.gc import collect_garbage

    found = collect_garbage(arguments.output, timedelta(hours=arguments.older_than), dry_run=arguments.dry_run)
    title = "To delete (--dry-run)" if arguments.dry_run else "Deleted"
    size = sum(orphan.bytes for orphan in found) / 1e6
    console.print(f"{title}: {len(found)} objects, {size:.1f} MB")
    return OK


def _verify(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    from voxbeam.pipeline.verify import verify_release
    from voxbeam.storage.releases import load_release

    store = Store(arguments.output)
    release = load_release(store, arguments.release)
    table = Table("where", "what is wrong", title=f"Release {release.name} is not what it says", title_justify="left", box=None)
    with console.status(f"Verifying release {release.name}"):
        for problem in verify_release(store, release):
            table.add_row(problem.where, problem.what)
    if table.row_count:
        console.print(table)
        return WRONG
    console.print(
        f"Release {release.name} holds: {len(release.files)} files, {release.counts['samples']} samples, every law kept"
    )
    return OK


def _config(arguments: argparse.Namespace, rest: list[str], console: Console) -> int:
    sys.stdout.write(commented_yaml(CorpusConfig()))
    return OK


def run() -> NoReturn:
    """The process: one command, then out at once.

    Tearing the interpreter down with Beam's and the models' C++ threads still alive aborts now and then ("terminate called
    without an active exception", exit status 134) after all work is done, so nothing is torn down.
    """
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


COMMANDS = {"demo": _demo, "plan": _plan, "build": _build, "status": _status, "gc": _gc, "verify": _verify, "config": _config}

if __name__ == "__main__":
    run()
