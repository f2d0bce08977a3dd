"""Types of values that options of several commands take."""

from datetime import date

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
