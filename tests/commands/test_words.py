"""An unknown option or a stray word is an error that names the nearest option, before any work."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxbeam.commands.beam_options import beam_options
from voxbeam.commands.command import VoxbeamCommand
from voxbeam.commands.corpus import build
from voxbeam.commands.exit_status import UNUSABLE
from voxbeam.commands.main import main, voxbeam
from voxbeam.schemas.nearest import edit_distance, nearest

BUILD = ["build", "--input", "in", "--output", "out"]


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], VoxbeamCommand]]:
    """Every command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            assert isinstance(command, VoxbeamCommand)
            yield (*path, name), command


COMMANDS = dict(commands(voxbeam))
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for param in command.get_params(click.Context(command))
    for option in param.opts
    if option.startswith("--")
]


def refused(*words: str) -> str:
    """The error of a command that must be refused."""
    with redirect_stderr(io.StringIO()) as printed:
        assert main(list(words)) == UNUSABLE
    return printed.getvalue()


@st.composite
def misspelled(draw: st.DrawFn, word: str) -> str:
    """A word with one letter added, missing, changed or swapped with the next; the dashes stay."""
    place = draw(st.integers(2, len(word) - 1))
    letter = draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz-_"))
    kind = draw(st.sampled_from(["add", "drop", "change", "swap"]))
    head, tail = word[:place], word[place:]
    swapped = head + tail[1:2] + tail[:1] + tail[2:]
    return {"add": head + letter + tail, "drop": head + tail[1:], "change": head + letter + tail[1:], "swap": swapped}[kind]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_misspelled_option_is_refused_and_its_name_found(data: st.DataObject) -> None:
    path, option = data.draw(st.sampled_from(OPTIONS))
    typed = data.draw(misspelled(option))
    names = {name for other, name in OPTIONS if other == path} | (beam_options().keys() if path == ("build",) else set())
    if typed in names or typed == "--":
        return
    value = data.draw(st.sampled_from(["", "=x"]))
    error = refused(*path, typed + value)
    guess = error.partition("did you mean ")[2].partition("?")[0]
    assert error.startswith(f"error: no such option {typed}; did you mean ")
    assert guess in names and edit_distance(typed, guess) <= 2, error
    assert guess == option or edit_distance(typed, guess) <= edit_distance(typed, option)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_misspelled_option_of_beam_is_refused(data: st.DataObject) -> None:
    option = data.draw(st.sampled_from(sorted(name for name in beam_options() if len(name) > 5)))
    typed = data.draw(misspelled(option))
    if typed in beam_options() or typed in {name for path, name in OPTIONS if path == ("build",)}:
        return
    assert f"no such option {typed}; did you mean --" in refused(*BUILD, f"{typed}=1")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build", "--confg=x.yaml"], "no such option --confg; did you mean --config?"),
        (["build", "-output", "x"], "no such option -output; did you mean --output?"),
        (["build", "--in", "x"], "no such option --in; did you mean --input?"),
        ([*BUILD, "--direct-num-workers=2"], "did you mean --direct_num_workers?"),
        ([*BUILD, "--runner", "SparkRunner", "spark_master_url=x"], "unexpected word 'spark_master_url=x'"),
        (["gc", "output"], "unexpected word 'output'; did you mean --output?"),
        (["verify", "--output", "--release", "3"], "option --output needs a value"),
        (["verify", "--output", "x", "--", "y"], "unexpected word 'y' after --"),
        (["verify", "--output", "x", "--release", "last"], "'last' is not a valid integer"),
        (["train", "corpus", "--out", "x", "--set", "stps=5"], "no such setting stps; did you mean steps?"),
        (["train", "corpus", "second", "--out", "x"], "unexpected word 'second'"),
        (["-log-level", "INFO", "gc"], "no such option -log-level; did you mean --log-level?"),
        (["say", "--text", "a", "--out", "o", "--top-pp", "1"], "no such option --top-pp; did you mean --top-p?"),
        (["biuld"], "no such command biuld; did you mean build?"),
        (["codec", "trian"], "no such command trian; did you mean train?"),
        (["gc"], "Missing option '--output'"),
        (["generate", "run", "--text", "a", "--prompt", "p", "--out", "o", "--stream", "--best-of", "2"], "exclude each other"),
    ],
)
def test_a_command_that_cannot_be_used(words: list[str], message: str) -> None:
    error = refused(*words)
    assert message in error and ("did you mean" in error or "\nRemedy: see `voxbeam" in error)


@pytest.mark.parametrize(
    "words",
    [
        ["--runner=SparkRunner", "--spark_master_url", "spark://m:7077"],
        ["--runner", "FlinkRunner", "--parallelism=8", "--flink_master=h:8081", "--no_wait_until_finish"],
        ["--storage_level=DISK_ONLY", "--environment_cache_millis", "0", "--sdk_worker_parallelism=2"],
        ["--direct_num_workers", "-1"],
        ["--update_compatibility_version"],
    ],
)
def test_options_of_beam_go_to_the_runner(words: list[str]) -> None:
    context = click.Context(build)
    ours, theirs = build.sort_words(context, ["--input", "in", *words, "--allow-quarantine", "--output=out"])
    assert theirs == words and ours == ["--input", "in", "--allow-quarantine", "--output=out"]


def test_words_after_two_dashes_go_to_the_runner_unread() -> None:
    ours, theirs = build.sort_words(click.Context(build), ["--input=in", "--runner=spark", "--", "--confg=1", "word", "--input"])
    assert (ours, theirs) == (["--input=in"], ["--runner=spark", "--confg=1", "word", "--input"])


def test_settings_follow_one_another() -> None:
    train = COMMANDS["train",]
    ours, _ = train.sort_words(click.Context(train), ["--set", "steps=5", "models=ar", "corpus", "--set=seed=1", "--out", "o"])
    assert ours == ["--set", "steps=5", "--set", "models=ar", "corpus", "--set=seed=1", "--out", "o"]


@pytest.mark.slow
@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_edit_distance(a: str, b: str, c: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))
    assert edit_distance(a + c, b + c) <= edit_distance(a, b)


def test_nothing_near_is_no_guess() -> None:
    assert nearest("--zzzzzz", ["--input", "--output"]) is None and nearest("--x", []) is None
    assert edit_distance("abcd", "abdc") == 1
