"""Types of values that options of several commands take, and former names that still work."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import click


class Day(click.ParamType[date]):
    """A calendar day."""

    name = "day"

    def convert(self, value: str | date, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day that a text such as 2011-12-08 names."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; write it as 2011-12-08", param, ctx)


class FormerOptions(click.Command):
    """A command that still takes former names of its options, with a warning.

    Args:
        former: former name of an option -> its name, both with dashes.
    """

    def __init__(self, *args: Any, former: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.former = former

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments in which former names are replaced."""
        return super().parse_args(ctx, [self._current(argument) for argument in args])

    def _current(self, argument: str) -> str:
        name, sign, value = argument.partition("=")
        if name not in self.former:
            return argument
        _warn(f"option {name}", self.former[name])
        return self.former[name] + sign + value


class FormerCommands(click.Group):
    """A group that still takes former names of its commands, with a warning.

    Args:
        former: former name of a command -> its name.
    """

    def __init__(self, *args: Any, former: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.former = former

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, current or former."""
        if cmd_name in self.former:
            _warn(f"command {cmd_name}", self.former[cmd_name])
            cmd_name = self.former[cmd_name]
        return super().get_command(ctx, cmd_name)


def _warn(what: str, name: str) -> None:
    click.echo(f"Warning: {what} is now called {name}; the next version no longer knows the former name.", err=True)
