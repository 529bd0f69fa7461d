"""`voxbeam remove`: recordings or speakers out of the next release, on purpose."""

from __future__ import annotations

import click

from voxbeam.commands.beam_options import BuildCommand
from voxbeam.commands.command import json_option
from voxbeam.commands.exit_status import CONFLICT, DONE, WORKER_LOST


@click.command(
    cls=BuildCommand,
    short_help="Make a release without some recordings or speakers.",
    examples=[
        'voxbeam remove /data/corpus --recording tape-17 --reason "the owner withdrew it"',
        'voxbeam remove s3://corpora/librilight --speaker anna --speaker bob --reason "asked to be taken out" --dry-run',
    ],
    statuses=[CONFLICT, WORKER_LOST],
)
@click.argument("output", metavar="OUTPUT")
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="Recording to take out; repeatable.")
@click.option("--speaker", "speakers", multiple=True, metavar="NAME", help="Speaker to take out, as in the samples; repeatable.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; the new release states it.")
@click.option("--name", metavar="TEXT", help="Who decided it.  [default: the user's name]")
@click.option("--dry-run", is_flag=True, help="Only say what would be lost; write nothing.")
@json_option
@click.pass_obj
def remove(
    runner_options: list[str],
    output: str,
    recordings: tuple[str, ...],
    speakers: tuple[str, ...],
    reason: str,
    name: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Make a new release of a corpus without some recordings or speakers, and keep the reason.

    Everything else stays, also what was left out before. Later builds and releases leave them out too, until `voxbeam release`
    takes that back (docs/policy.md). Older releases and the units still hold them. removals/ says who decided it, and when.

    Every other option is an option of Apache Beam, as for `voxbeam build`.
    """
    if not recordings and not speakers:
        raise click.UsageError("name what to remove: --recording or --speaker")
    if not reason.strip():
        raise click.UsageError("--reason is empty: say why, for those who ask later")

    from voxbeam.commands import terminal
    from voxbeam.commands.label_error import LabelError
    from voxbeam.commands.release_document import release_document
    from voxbeam.commands.release_report import print_release_result, showing_release
    from voxbeam.commands.user import user_name
    from voxbeam.pipeline.remove import remove as make_release
    from voxbeam.storage.store import Store

    error = LabelError(output) if dry_run else None
    with showing_release(output, terminal.stderr(), dry_run) as show:
        result = make_release(
            output,
            recordings=recordings,
            speakers=speakers,
            reason=reason.strip(),
            who=name or user_name(),
            dry_run=dry_run,
            runner_args=runner_options,
            on_progress=show,
            on_judged=error.forecast.add if error and error.forecast else None,
        )
    print_release_result(result, error, Store(output), terminal.results(as_json))
    if as_json:
        terminal.print_json(release_document(output, result, error))
    return DONE
