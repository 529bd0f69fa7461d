"""`voxbeam audit`: people listen to a sample of a release, and the release states how wrong its labels are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from voxbeam.commands.command import VoxbeamCommand, json_option
from voxbeam.commands.exit_status import DONE, WRONG
from voxbeam.commands.output_files import require_new, require_outside

if TYPE_CHECKING:
    from voxbeam.corpus import Corpus

SOUNDS = ("kept", "codes", "sources")


@click.command(
    cls=VoxbeamCommand,
    short_help="Listen to a sample of a release, and state its label error.",
    examples=[
        "voxbeam audit /data/corpus",
        "voxbeam audit /data/corpus --result",
        "voxbeam audit /data/corpus --corrections audit.jsonl",
    ],
    statuses=[WRONG],
)
@click.argument("corpus")
@click.option("--release", type=int, metavar="NUMBER", help="Release to listen to.  [default: the latest]")
@click.option("--clips", type=click.IntRange(1, 400), default=400, show_default=True, help="Clips of the sample.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another sample.")
@click.option(
    "--audio",
    type=click.Choice(SOUNDS),
    help="Where the audio is from: kept in the shards, decoded from the codes, or cut from the recordings.  "
    "[default: kept, where every sample has it; else codes]",
)
@click.option("--codec-name", metavar="NAME", help="Hear the codes of this further codec.  [default: the first]")
@click.option("--name", metavar="TEXT", help="Who listens, as the answers state it.  [default: the user's name]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page.  [default: a free one]")
@click.option("--result", "show_result", is_flag=True, help="Do not listen: print what the answers say.")
@click.option("--corrections", metavar="FILE", help="Do not listen: write what was found as an overlay for the next release.")
@json_option
def audit(
    corpus: str,
    release: int | None,
    clips: int,
    seed: int,
    audio: str | None,
    codec_name: str | None,
    name: str | None,
    port: int,
    show_result: bool,
    corrections: str | None,
    as_json: bool,
) -> int:
    """Listen to a sample of a release of CORPUS, one key a clip, and state the label error with a confidence interval.

    The sample is drawn by seed, in strata of source and score. The page is served on 127.0.0.1 only, at an address with a random
    token; it needs no network. Each answer is kept at once as a signed row below the corpus, in audits/, so the same command
    resumes an audit. The key is made at first use in the user's configuration folder. Listening needs voxbeam[audit].

    --result checks the signatures, and prints the label error overall, by kind and by stratum. With rows that were changed the
    exit status is 1. --corrections writes JSON lines, which the configuration of the next release names among its overlays.
    """
    from voxbeam.corpus import Corpus

    if as_json and not show_result:
        raise click.UsageError("--json needs --result")
    _require_cryptography()
    opened = Corpus(corpus, release, codec_name=codec_name)
    if not show_result and corrections is None:
        _listen(opened, clips, seed, audio, name, port)
        return DONE
    return _report(opened, show_result, corrections, as_json)


def _require_cryptography() -> None:
    """Raises VoxbeamError where the library of the signatures is missing."""
    from importlib.util import find_spec

    from voxbeam.schemas.errors import VoxbeamError

    if find_spec("cryptography") is None:
        raise VoxbeamError("answers are signed, and the library for that is missing", remedy="pip install 'voxbeam[audit]'")


def _listen(corpus: Corpus, clips: int, seed: int, audio: str | None, name: str | None, port: int) -> None:
    """Serves the page until Finish is pressed there."""
    from voxbeam.audit.open import open_audit
    from voxbeam.audit.server import AuditServer
    from voxbeam.commands import terminal
    from voxbeam.commands.user import user_name

    console = terminal.stdout()
    with terminal.stderr().status(f"Drawing a sample of release {corpus.name}"):
        session = open_audit(corpus, who=name or user_name(), clips=clips, seed=seed, sound=audio)
    server = AuditServer(session, port)
    try:
        console.print(f"Audit of release {corpus.name}: {session.answered} of {len(session.plan.clips)} clips answered")
        console.print(f"Open this page: {server.address}")
        console.print("Ctrl-C stops; the same command resumes.", style="dim")
        while not server.finished.wait(0.5):
            pass
    finally:
        server.close()
    console.print(f"{session.answered} of {len(session.plan.clips)} clips answered; see `voxbeam audit {corpus.uri} --result`")


def _report(corpus: Corpus, show_result: bool, corrections_file: str | None, as_json: bool) -> int:
    from voxbeam.audit.result import corrections, read_results
    from voxbeam.commands import terminal
    from voxbeam.commands.audit_document import audit_document
    from voxbeam.commands.audit_report import print_result
    from voxbeam.schemas.errors import StorageError

    results = read_results(corpus.store, corpus.release)
    if not results:
        raise StorageError(
            f"nobody has listened to release {corpus.name} of {corpus.uri}", remedy="run `voxbeam audit` without --result"
        )
    best = results[0]
    if corrections_file is not None:
        require_new(Path(corrections_file))
        require_outside(Path(corrections_file), corpus.uri)
    if show_result:
        for result in results:
            print_result(result, terminal.results(as_json))
        if as_json:
            terminal.print_json(audit_document(corpus.uri, corpus.release, best))
    if best.wrong:
        for each in best.wrong:
            terminal.stderr().print(f"{each.path} {each.what}", style="red")
        if corrections_file is not None:
            raise StorageError(
                f"{len(best.wrong)} rows of the audit are not as they were signed, so nothing is corrected",
                remedy="restore them from a backup, or listen again with another --seed",
            )
    if corrections_file is not None:
        path, content = Path(corrections_file), corrections(best)
        path.write_bytes(content)
        count = len(content.splitlines())
        terminal.results(as_json).print(f"{path}: {count} corrections; name it among `overlays` of the configuration")
    return WRONG if best.wrong else DONE
