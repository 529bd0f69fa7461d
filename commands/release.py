"""`voxbeam release` and `diff`: the same evidence by another policy, and what differs between two releases."""

from __future__ import annotations

from pathlib import Path

import click

from voxbeam.commands.beam_options import BuildCommand
from voxbeam.commands.command import VoxbeamCommand, json_option
from voxbeam.commands.exit_status import CONFLICT, DONE, WORKER_LOST
from voxbeam.commands.output_files import require_outside


@click.command(
    cls=BuildCommand,
    short_help="Make a release of the same units by another policy.",
    examples=[
        "voxbeam release /data/corpus --config policy.yaml --dry-run",
        "voxbeam release s3://corpora/librilight --config policy.yaml --direct_num_workers=4",
    ],
    statuses=[CONFLICT, WORKER_LOST],
)
@click.argument("output", metavar="OUTPUT")
@click.option(
    "--config", required=True, metavar="URI", help="Policy in YAML: sections and keys that it leaves out stay as they are."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be kept and lost; write nothing.")
@click.option("--allow-empty", is_flag=True, help="Commit even if the policy accepts no segment.")
@json_option
@click.pass_obj
def release(runner_options: list[str], output: str, config: str, dry_run: bool, allow_empty: bool, as_json: bool) -> int:
    """Make a new release of a corpus by another policy, without sound and without models.

    The recordings and units are those of the latest release. The policy may set the sections filter, purity, exclude,
    corrections, link_speakers, identify and pack, and overlays (docs/policy.md). Settings of the stages need `voxbeam build`.

    Every other option is an option of Apache Beam, as for `voxbeam build`.
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.label_error import LabelError
    from voxbeam.commands.release_document import release_document
    from voxbeam.commands.release_report import print_release_result, showing_release
    from voxbeam.pipeline.repack import release as make_release
    from voxbeam.storage.address import resolve_address
    from voxbeam.storage.store import Store

    error = LabelError(output) if dry_run else None
    with showing_release(output, terminal.stderr(), dry_run) as show:
        result = make_release(
            output,
            resolve_address(config),
            dry_run=dry_run,
            allow_empty=allow_empty,
            runner_args=runner_options,
            on_progress=show,
            on_judged=error.forecast.add if error and error.forecast else None,
        )
    print_release_result(result, error, Store(output), terminal.results(as_json))
    if as_json:
        terminal.print_json(release_document(output, result, error))
    return DONE


@click.command(
    cls=VoxbeamCommand,
    short_help="Show what changed between two releases, and why.",
    examples=["voxbeam diff /data/corpus 1 2", "voxbeam diff s3://corpora/librilight 3 4 --parquet changes.parquet --json"],
)
@click.argument("output", metavar="OUTPUT")
@click.argument("before", type=click.IntRange(1), metavar="A")
@click.argument("after", type=click.IntRange(1), metavar="B")
@click.option("--parquet", metavar="FILE", help="Write one row for each change of a segment.")
@json_option
def diff(output: str, before: int, after: int, parquet: str | None, as_json: bool) -> int:
    """Show what changed from release A to release B: segments by change and cause, and the settings that differ.

    Causes are input, exclude, corrections, threshold, identities and model (docs/policy.md).
    """
    from voxbeam.commands import terminal
    from voxbeam.commands.release_document import diff_document
    from voxbeam.commands.release_report import print_diff
    from voxbeam.pipeline.diff import diff as compare

    if parquet is not None:
        require_outside(Path(parquet), output)
    found = compare(output, before, after)
    if parquet is not None:
        found.write_parquet(parquet)
    print_diff(found, parquet, terminal.results(as_json))
    if as_json:
        terminal.print_json(diff_document(output, found, parquet))
    return DONE
