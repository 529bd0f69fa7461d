"""`voxbeam takedown person`, `purge` and `checkpoints`: out of a corpus, deleted, and which models learned from it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxbeam.commands.command import Finite
from voxbeam.commands.exit_status import CONFLICT, DONE, WRONG
from voxbeam.commands.model_command import ModelCommand
from voxbeam.commands.output_files import place_in

if TYPE_CHECKING:
    from rich.console import Console

    from voxbeam.pipeline.takedown.find import Found
    from voxbeam.pipeline.takedown.purge import Purged

File = click.Path(path_type=Path, dir_okay=False)
_SHOWN = 20
corpus_option = click.option("--corpus", required=True, metavar="URI", help="Folder or bucket of the corpus.")
ledger_option = click.option("--ledger", metavar="URI", help="Consent ledger.  [default: $VOXBEAM_LEDGER, or that of this user]")


@click.command(
    cls=ModelCommand,
    short_help="Take a person out of a corpus.",
    examples=[
        "voxbeam takedown person --corpus /data/corpus --speaker anna --dry-run",
        'voxbeam takedown person --corpus /data/corpus --speaker anna --name "Ann Lee" --out statement.json --purge',
        "voxbeam takedown person --corpus s3://corpora/talks --voice me.wav --recording talk-7 --out s.json --purge --grace 0",
    ],
    statuses=[CONFLICT, WRONG],
)
@corpus_option
@click.option("--recording", "recordings", multiple=True, metavar="ID", help="Recording that the person is in; repeatable.")
@click.option("--speaker", "speakers", multiple=True, metavar="NAME", help="Speaker, as listed or in the samples; repeatable.")
@click.option("--voice", "voices", multiple=True, type=File, help="5 s or more of the person; repeatable.")
@click.option("--name", metavar="TEXT", help="Name in the consent ledger: the grants end, and the personal data are shredded.")
@click.option("--reason", metavar="TEXT", help="Why; the ledger keeps it.")
@click.option("--out", type=File, help="File for the signed statement. It names the recordings: keep it out of the corpus.")
@click.option(
    "--purge", "purges", is_flag=True, help="Delete old releases, units and all else that has the person, after --grace."
)
@click.option("--grace", type=Finite(0, 36_500), default=30.0, show_default=True, metavar="DAYS", help="Time until then.")
@click.option("--dry-run", is_flag=True, help="Only show who is found; write nothing.")
@ledger_option
def person(
    corpus: str,
    recordings: tuple[str, ...],
    speakers: tuple[str, ...],
    voices: tuple[Path, ...],
    name: str | None,
    reason: str | None,
    out: Path | None,
    purges: bool,
    grace: float,
    dry_run: bool,
    ledger: str | None,
) -> int:
    """Make a release without a person, publish a tombstone, and write a signed statement that anybody can check.

    The person is found by recording, by name and by voice; every recording that the person speaks in goes, whole. Voices that may
    be the same person, by the embeddings of all voices of the release, are shown, and stay until they are named. Only shards that
    had the person are written again; all others are those of the release before. From now on nothing trains on a release with the
    person, and no build takes them in again.

    With --purge, what is left is deleted once --grace is over, by `voxbeam takedown purge`; with --grace 0 now.
    """
    from voxbeam.commands import terminal
    from voxbeam.pipeline.takedown.find import find_person
    from voxbeam.pipeline.takedown.purge import purge as purge_corpus
    from voxbeam.pipeline.takedown.take_down import take_down
    from voxbeam.safety.enrol import find_subject
    from voxbeam.safety.ledger import Ledger
    from voxbeam.storage.releases import load_release
    from voxbeam.storage.store import Store
    from voxbeam.synthesis.recording import Recording

    if not (recordings or speakers or voices):
        raise click.UsageError("say who: --recording, --speaker or --voice")
    if out is None and not dry_run:
        raise click.UsageError("--out FILE is needed: the statement is what shows that the person is gone")
    store, console, opened = Store(corpus), terminal.stdout(), Ledger(ledger)
    if out is not None and place_in(out, store.root) is not None:
        raise click.UsageError(f"--out {out} is in the corpus, and names the recordings; choose another place")
    subject = find_subject(opened, name) if name is not None else None
    sounds = [Recording.read(path).wave_S for path in voices]
    found = find_person(store, load_release(store), recordings=recordings, speakers=speakers, sounds=sounds)
    print_found(found, console)
    if dry_run or out is None:
        return DONE
    tell = terminal.stderr().print
    done = take_down(
        store,
        found,
        opened,
        subject=subject,
        reason=reason,
        grace=timedelta(days=grace) if purges else None,
        on_step=lambda step: tell(f"… {step}"),
    )
    out.write_bytes(done.statement)
    console.print(
        f"Release {done.after.name} is without them: {done.shards_rewritten} of {len(done.before.files_of_kind('shard'))} shards "
        "of the release before were written again or dropped, all others are the same files"
    )
    if found.near:
        shown = ", ".join(f"{near.voice} ({near.similarity:.2f})" for near in found.near)
        console.print(f"Near voices left in release {done.after.name}: {shown}. Listen whether they are the same person")
    console.print(f"{out}: signed by {done.public_key}")
    if done.purge_after is None:
        return DONE
    due = max(opened.clock(), done.purge_after)
    purged = purge_corpus(store, due, trusted={done.public_key}, dry_run=grace > 0)
    return print_purged(purged, console, dry_run=grace > 0, when=done.purge_after.isoformat(timespec="minutes"))


@click.command(
    cls=ModelCommand,
    short_help="Delete what is left of people who were taken down.",
    examples=["voxbeam takedown purge --corpus /data/corpus", "voxbeam takedown purge --corpus /data/corpus --all --dry-run"],
    statuses=[WRONG],
)
@corpus_option
@click.option("--all", "everything", is_flag=True, help="Also of takedowns whose time has not come, or that named none.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--key", metavar="HEX", help="Public key of the operator who signed the tombstones.  [default: as the ledger says]")
@ledger_option
def purge(corpus: str, everything: bool, dry_run: bool, key: str | None, ledger: str | None) -> int:
    """Delete old releases, units, listings and copies that have people whose time of grace is over, and scan what stays.

    Only by the word of the operator: the newest tombstone must be signed by a key that signs for the operator of the ledger.

    Exit status 1: the scan found something of them in a file that voxbeam did not make or that others refer to; it is named, and
    left for you to delete.
    """
    from voxbeam.commands import terminal
    from voxbeam.pipeline.takedown.purge import purge as purge_corpus
    from voxbeam.safety.ledger import Ledger, utc_now
    from voxbeam.storage.store import Store

    tell = terminal.stderr().print
    purged = purge_corpus(
        Store(corpus), utc_now(), trusted={key} if key is not None else Ledger(ledger).operator_keys(), everything=everything,
        dry_run=dry_run, on_step=lambda step: tell(f"… {step}"),
    )  # fmt: skip
    return print_purged(purged, terminal.stdout(), dry_run=dry_run)


def print_found(found: Found, console: Console) -> None:
    """Which recordings go and why, and which voices are near."""
    for one in found.recordings:
        beside = f"; with it goes the speech of {', '.join(one.others)}" if one.others else ""
        console.print(f"{one.recording} ({one.ms / 1000:.0f} s, {one.status}): {'; '.join(one.why)}{beside}")
    for near in found.near:
        console.print(
            f"Near, and not taken: {near.voice} of {near.recording} ({near.speaker}), similarity {near.similarity:.2f}, "
            f"probability {near.probability:.2f}; if it is the same person, add --recording {near.recording}"
        )
    for name in found.alike:
        console.print(f"Not taken: the speaker {name!r}, which looks alike; if it is the same person, add --speaker {name!r}")


def print_purged(purged: Purged, console: Console, *, dry_run: bool, when: str | None = None) -> int:
    """What was deleted, or will be, and what the scan found."""
    for later in purged.later:
        when_due = f"after {later.purge_after}" if later.purge_after else "no time was named (--all deletes it)"
        console.print(f"{later.path}: what is left is not deleted yet: {when_due}")
    if not purged.due:
        console.print("Nothing is due")
        return DONE
    names = ", ".join(f"{number:06d}" for number in purged.releases) or "none"
    verb = "Would be deleted" if dry_run and when is None else f"To be deleted after {when}" if dry_run else "Deleted"
    console.print(f"{verb}: {len(purged.paths)} objects, {purged.bytes / 1e6:.1f} MB; releases {names}")
    for path in purged.paths[:_SHOWN]:
        console.print(f"  {path}", highlight=False)
    if len(purged.paths) > _SHOWN:
        console.print(f"  and {len(purged.paths) - _SHOWN} more")
    if dry_run:
        if when is not None:
            console.print("Run `voxbeam takedown purge --corpus …` then; nothing deletes it by itself")
        return DONE
    for finding in purged.findings:
        stated = finding.path.startswith(("releases/", "copies/"))  # of a release that stays
        advice = "a reason of its policy names them; word it otherwise, run `voxbeam release`, and purge again"
        advice = advice if stated else "look at it, and delete it yourself"
        console.print(f"{finding.path} has {finding.what} of them: {advice}", style="red")
    if not purged.releases:
        console.print("Nothing was looked for: no release is left that tells of them. What an earlier purge named may be there")
    elif not purged.findings:
        console.print(f"Scanned {purged.scanned} objects that stay: nothing of them was found")
    console.print(
        "Exports, pages, copies and runs elsewhere, backups, and caches of other machines were not looked at: delete them"
    )
    return WRONG if purged.findings else DONE


@click.command(
    cls=ModelCommand,
    short_help="Show which models learned from people who were taken down.",
    examples=[
        "voxbeam takedown checkpoints runs/first --corpus /data/corpus",
        "voxbeam takedown checkpoints runs/first --corpus /data/corpus --out steps.jsonl --block",
    ],
    statuses=[WRONG],
)
@click.argument("run")
@corpus_option
@click.option("--out", type=File, help="JSON lines: every step that read a sample of them, with its keys.")
@click.option("--block", is_flag=True, help="Block a run that learned from them: nothing speaks with it any more.")
def checkpoints(run: str, corpus: str, out: Path | None, block: bool) -> int:
    """Show at which steps RUN read samples of people who were taken down, and which of its checkpoints are after these.

    What a run reads is a function of the release and its settings, so the steps are exact; the release must still be there, so
    ask before it is purged. RUN is a run, a folder of the runs ar and nar, or an exported file.

    With --block, a signed statement beside the checkpoints makes `generate`, `edit`, `export`, `evaluate model` and
    `train --init-from` refuse it; where no checkpoint is left that learned from them, the block is taken back. Exit status 1: it
    learned from them.
    """
    import json

    from voxbeam.safety.blocks import block_run, unblock_run
    from voxbeam.safety.ledger import Ledger
    from voxbeam.storage.store import Store
    from voxbeam.trainer.data.consumed import find_consumed

    learned = find_consumed(run, Store(corpus))
    for one in learned:
        if one.elsewhere:
            click.echo(f"{one.where}: it learned from another corpus or release: ask about that too")
            continue
        begin = f"first at step {one.steps[0].step}" if one.steps else "nothing of them"
        click.echo(f"{one.where}: {len(one.steps)} of {one.total_steps} steps read {one.samples} samples of them, {begin}")
        for step in one.saved:
            after = any(read.step <= step for read in one.steps)
            click.echo(f"  checkpoint of step {step}: {'learned from them' if after else 'did not learn from them'}")
        if one.init_from is not None:
            click.echo(f"  it began with the weights of {one.init_from}: ask about that too")
    if out is not None:
        lines = [
            {"model": one.where, "step": s.step, "samples": s.samples, "prompts": s.prompts} for one in learned for s in one.steps
        ]
        out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tainted = [one for one in learned if any(read.step <= max(one.saved) for read in one.steps)]
    if block and tainted:
        key = Ledger().keys.operator(make=True)
        click.echo(f"Blocked by {block_run(run, min(0 if one.inherited else one.steps[0].step for one in tainted), key)}")
    elif block and unblock_run(run):
        click.echo("No checkpoint learned from them any more: the block is taken back")
    return WRONG if tainted else DONE
