"""The base of every command: strict about its words, and with a help that shows examples and exit statuses."""

from __future__ import annotations

import importlib
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from voxbeam.commands.exit_status import DONE, INTERRUPTED, MEANINGS, UNUSABLE
from voxbeam.schemas.nearest import did_you_mean

Arity = int | str
"""how many values an option takes: a number, or "?" for one that may be left out"""


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead (docs/cli.md).")


class SettingsOption(click.Option):
    """An option of NAME=VALUE words, declared with `multiple=True`: `--set a=1 b=2` is `--set a=1 --set b=2`."""


class Finite(click.FloatRange):
    """A number in a range, and neither NaN nor infinite, which pass for numbers in a range of any kind."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class VoxbeamCommand(click.Command):
    """A command that refuses an unknown option or a stray word before any work, naming the nearest option.

    `examples` are whole command lines; `statuses` are exit statuses besides those that every command has.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), statuses: Sequence[int] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self.statuses = tuple(sorted({DONE, UNUSABLE, INTERRUPTED, *statuses}))

    def other_options(self, names: set[str]) -> Mapping[str, Arity]:
        """Options that go to somebody else; `names` are those that were given and are not ours."""
        return {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, others = self.sort_words(ctx, args)
        ctx.obj = others
        return super().parse_args(ctx, ours)

    def sort_words(self, ctx: click.Context, args: Sequence[str]) -> tuple[list[str], list[str]]:
        """The words for this command, and those of other options. Raises UsageError for a word that is neither."""
        options = {name: param for param in self.get_params(ctx) if isinstance(param, click.Option) for name in param.opts}
        arity: dict[str, Arity] = {
            name: 0 if option.is_flag or option.count else option.nargs for name, option in options.items()
        }
        given = {word.partition("=")[0] for word in args if word.startswith("-") and word != "-"}
        others = self.other_options(given - arity.keys())
        places = sum(param.nargs for param in self.params if isinstance(param, click.Argument))
        ours, theirs = list[str](), list[str]()
        rest = deque(args)
        while rest:
            word = rest.popleft()
            name, equals, _ = word.partition("=")
            if word == "--":
                theirs += self.after_dashes(ctx, list(rest))
                break
            if not word.startswith("-") or word == "-":
                if (places := places - 1) < 0:
                    raise stray_word(ctx, word, options)
                ours.append(word)
                continue
            if name not in arity and name not in others:
                raise unknown_option(ctx, name, [*arity, *others])
            taken = [word]
            count = arity.get(name, others.get(name, 0))
            if count == "?":
                count = int(bool(rest) and not rest[0].startswith("-"))
            for _ in range(0 if equals else int(count)):
                if not rest or rest[0].partition("=")[0] in arity:
                    raise click.UsageError(f"option {name} needs a value", ctx)
                taken.append(rest.popleft())
            if isinstance(options.get(name), SettingsOption):
                while rest and "=" in rest[0] and not rest[0].startswith("-"):
                    taken += [name, rest.popleft()]
            (ours if name in arity else theirs).extend(taken)
        return ours, theirs

    def after_dashes(self, ctx: click.Context, words: list[str]) -> list[str]:
        """What a bare `--` is followed by: nothing, unless a command has a use for it."""
        if words:
            raise click.UsageError(f"unexpected word {words[0]!r} after --", ctx)
        return []

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for example in self.examples for line in example.splitlines()))
        write_statuses(formatter, self.statuses)


def write_statuses(formatter: click.HelpFormatter, statuses: Iterable[int]) -> None:
    with formatter.section("Exit status"):
        formatter.write_dl([(str(status), MEANINGS[status]) for status in statuses])


def unknown_option(ctx: click.Context, name: str, names: Sequence[str]) -> click.UsageError:
    return click.UsageError(f"no such option {name}{did_you_mean(name, names)}", ctx)


def stray_word(ctx: click.Context, word: str, names: Sequence[str] | Mapping[str, Any]) -> click.UsageError:
    option = "--" + word.partition("=")[0].lstrip("-")
    return click.UsageError(f"unexpected word {word!r}{did_you_mean(option, names)}", ctx)


class VoxbeamGroup(click.Group):
    """A group whose commands are imported when they are used.

    `lazy` maps a command to `module:attribute`; `other_names` maps a second name, which no list shows, to its command.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, str], other_names: Mapping[str, str] = MappingProxyType({}), **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.lazy = dict(lazy)
        self.other_names = dict(other_names)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return None
        module, _, attribute = self.lazy[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if ctx.parent is None:
            write_statuses(formatter, MEANINGS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        args = [self.other_names.get(args[0], args[0]), *args[1:]]
        if args[0] not in self.lazy:
            raise click.UsageError(f"no such command {args[0]}{did_you_mean(args[0], self.lazy)}", ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = list(args)  # click's parser empties the list
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            names = [name for param in self.get_params(ctx) for name in param.opts]
            word = next(word for word in typed if word.startswith(error.option_name))
            raise unknown_option(ctx, word.partition("=")[0], names) from error
