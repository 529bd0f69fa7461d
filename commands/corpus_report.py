"""`voxbeam report`: a release as one HTML page, and what another limit would cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxbeam.commands.command import SettingsOption, VoxbeamCommand, json_option
from voxbeam.commands.exit_status import DONE
from voxbeam.commands.output_files import require_outside

if TYPE_CHECKING:
    from voxbeam.reporting.limits import Cost


@click.command(
    cls=VoxbeamCommand,
    short_help="Write a release as one HTML page; tell what another limit would cost.",
    examples=[
        "voxbeam report /data/corpus --out report.html",
        "voxbeam report /data/corpus --try min_dnsmos_ovrl=3.0",
        "voxbeam report s3://corpora/x --try min_dnsmos_ovrl=3.0 min_snr_db=15 --json",
    ],
)
@click.argument("output")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Page to write.  [default: report.html]"
)
@click.option("--release", type=int, metavar="NUMBER", help="Release to report.  [default: the latest]")
@click.option(
    "--clips",
    type=click.IntRange(0, 20),
    default=3,
    show_default=True,
    metavar="N",
    help="Segments to hear on each side of a limit.",
)
@click.option(
    "--try",
    "tried",
    cls=SettingsOption,
    multiple=True,
    metavar="NAME=VALUE ...",
    help="Only tell what other limits would keep, each alone and together; no page without --out.",
)
@click.option("--codec-name", metavar="NAME", help="Further codec that the samples are heard by.  [default: the first]")
@json_option
def report(
    output: str,
    out: Path | None,
    release: int | None,
    clips: int,
    tried: tuple[str, ...],
    codec_name: str | None,
    as_json: bool,
) -> int:
    """Write a release of the corpus OUTPUT as one HTML page that needs no network.

    Hours in and where they went; every score's distribution with its limit, and what another limit would keep; segments to hear
    on both sides of each limit; speakers, identities, languages, phones; doubtful and repeated texts; what the builds took and
    what failed; what changed since the previous release; a table of segments to search. All of it is computed from the tables.
    """
    from voxbeam.commands import terminal
    from voxbeam.reporting.report import report as write_report
    from voxbeam.reporting.report import what_if

    console, documents = terminal.results(as_json), []
    if tried:
        costs = what_if(output, _limits(tried), release=release)
        for cost in costs:
            console.print(_sentence(cost))
        documents = [vars(cost) for cost in costs]
    page = out or Path("report.html")
    if out is not None or not tried:
        require_outside(page, output)
        _pin_threads()
        with terminal.stderr().status("Reading the tables") as status:
            write_report(
                output,
                page,
                release=release,
                clips=clips,
                codec_name=codec_name,
                on_progress=lambda what: status.update(f"Computing: {what}"),
            )
        console.print(f"Report: {page} ({page.stat().st_size / 1e6:.1f} MB)")
    if as_json:
        terminal.print_json({"out": str(page) if out is not None or not tried else None, "tried": documents})
    return DONE


def _limits(words: tuple[str, ...]) -> dict[str, float]:
    """NAME=VALUE words as limits. Raises UsageError for a word that is none."""
    limits = {}
    for word in words:
        name, equals, value = word.partition("=")
        try:
            limits[name] = float(value)
            if not math.isfinite(limits[name]):
                raise ValueError
        except ValueError:
            raise click.UsageError(f"--try {word}: " + ("its value is no number" if equals else "give NAME=VALUE")) from None
    return limits


def _sentence(cost: Cost) -> str:
    from voxbeam.commands.display import hours, plural

    limits = ", ".join(f"{name} {limit:g}" for name, limit in cost.limits.items())
    before = cost.kept_ms + cost.lost_ms - cost.gained_ms
    change = f" ({(cost.kept_ms - before) / before:+.1%})" if before else ""
    text = f"{limits}: keeps {hours(cost.kept_ms)}, now {hours(before)}{change}"
    if cost.lost_samples:
        text += f"; {plural(cost.lost_samples, 'sample')} ({hours(cost.lost_ms)}) would be rejected"
    if cost.gained_segments:
        text += f"; {plural(cost.gained_segments, 'rejected segment')} ({hours(cost.gained_ms)}) would come back"
    if cost.identities_lost:
        text += f"; {cost.identities_lost} of the identities would be left without a sample"
    return text


def _pin_threads() -> None:
    """One thread for the codec, where it is installed: it is too small to gain from more."""
    from importlib.util import find_spec

    if find_spec("torch") is not None:
        from voxbeam.models.threads import pin_threads

        pin_threads()
