"""The generated parts of the documents: `make docs` writes them, one test compares them.

A part stands in a Markdown file between `<!-- generated: NAME -->` and `<!-- /generated -->`. Belongs here: what each
part is made from. Does not: text that people write, which stays as it is.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from ml.restock import STEPS, Cause
from orchestration.home.environment import OTHER_VARIABLES
from orchestration.home.settings import DBT_PROJECT, PROJECT_FOLDER, Settings
from orchestration.ingest.contract import load_contract
from orchestration.ingest.contract_texts import contract_markdown
from orchestration.warehouse.macros import generated_macros

FOLDERS = ("dbt_project", "infra", "ml", "orchestration", "serving", "tests")
_PART = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- /generated -->", re.DOTALL)
_ATTRIBUTE = re.compile(r"^(\w+): (.*?)(?=^\w+: |\Z)", re.DOTALL | re.MULTILINE)
_VARIABLE = re.compile(r" \(([A-Z_]+), default ([^()]*)\)")
_HELP_WIDTH = 100


def documents() -> list[Path]:
    """Return the Markdown files that hold generated parts."""
    files = (file for folder in FOLDERS for file in sorted((PROJECT_FOLDER / folder).rglob("*.md")))
    return [file for file in files if _PART.search(file.read_text(encoding="utf-8"))]


def generate(text: str) -> str:
    """Return a document with its generated parts as they are today.

    Raises:
        KeyError: a part has a name that nothing is made for; the message lists the names there are.
    """

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name not in PARTS:
            raise KeyError(f"no part of a document is called {name!r}; there are {', '.join(PARTS)}")
        return f"<!-- generated: {name} -->\n\n{PARTS[name]().strip()}\n\n<!-- /generated -->"

    return _PART.sub(part, text)


def contract() -> str:
    """Return every table and column of the input."""
    return contract_markdown(load_contract())


def tables() -> str:
    """Return what analysts can read, one row per published relation."""
    rows = [
        f"| `{layer}.{model['name']}` | {model['description'].strip()} |"
        for layer in ("reporting", "marts")
        for model in _models(layer)
    ]
    return "\n".join(["| Relation | Contents |", "|---|---|", *rows])


def settings() -> str:
    """Return every variable of the environment with its meaning and default."""
    rows = [f"| `{name}` | {meaning} | {default} |" for name, meaning, default in described_settings()]
    rows += [f"| `{name}` | {meaning} | |" for name, meaning in OTHER_VARIABLES.items()]
    return "\n".join(["| Variable | Meaning | Default |", "|---|---|---|", *rows])


def described_settings() -> Iterator[tuple[str, str, str]]:
    """Yield variable, meaning and default of every setting that the environment can change."""
    text = inspect.getdoc(Settings) or ""
    attributes = inspect.cleandoc(text.partition("Attributes:\n")[2])
    for _, described in _ATTRIBUTE.findall(attributes):
        meaning = " ".join(described.split())
        found = _VARIABLE.search(meaning)
        if found:
            rest = meaning.replace(found[0], "").rstrip(".")
            yield found[1], rest[0].upper() + rest[1:], found[2]


def commands() -> str:
    """Return the help of every command."""
    from orchestration.cli.main import cli

    parts = []
    for context in _contexts(cli, click.Context(cli, info_name="inventorybot", **{**cli.context_settings, **_WIDTHS})):
        parts += [f"## {context.command_path}", "", "```", context.get_help(), "```", ""]
    return "\n".join(parts)


def assets() -> str:
    """Return what Dagster shows: groups with their assets, jobs, schedules and sensors."""
    from orchestration.definitions import build_defs

    defined = build_defs()
    groups: dict[str, dict[str, str]] = {}
    for spec in defined.resolve_all_asset_specs():
        groups.setdefault(str(spec.group_name), {})["/".join(spec.key.path)] = spec.description or ""
    lines = ["| Group | Asset | Contents |", "|---|---|---|"]
    for group, members in sorted(groups.items()):
        if group in _DESCRIBED_ELSEWHERE:
            lines.append(f"| {group} | {len(members)} assets | {_DESCRIBED_ELSEWHERE[group]} |")
        else:
            lines += [f"| {group} | `{key}` | {_in_line(text)} |" for key, text in sorted(members.items())]
    automated = [
        *(("job", job.name, job.description) for job in defined.jobs or ()),
        *(("schedule", one.name, one.description) for one in defined.schedules or ()),
        *(("sensor", one.name, one.description) for one in defined.sensors or ()),
    ]
    lines += ["", "| Kind | Name | What it does |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {kind} | `{name}` | {_in_line(text or '')} |" for kind, name, text in automated)])


def order_steps() -> str:
    """Return each step of an order with what it does to it."""
    rows = [
        f"| `{step.name}` | {step.stage} | {'raises' if step.sign > 0 else 'lowers'} "
        f"| {step.noun or 'inventory position above the level'} |"
        for step in STEPS
    ]
    return "\n".join(["| Step | Stage | Does to the order | Units of it |", "|---|---|---|---|", *rows])


def exceptions() -> str:
    """Return each cause of a restock exception with its remedy."""
    rows = [f"| `{cause.code}` | {_shown(cause.text)} | {_shown(cause.remedy)} |" for cause in Cause]
    return "\n".join(["| Cause | What is wrong | What to do |", "|---|---|---|", *rows])


PARTS: Mapping[str, Callable[[], str]] = {
    part.__name__: part for part in (contract, tables, settings, commands, assets, exceptions, order_steps)
}
_WIDTHS: dict[str, Any] = {"terminal_width": _HELP_WIDTH, "max_content_width": _HELP_WIDTH}
_DESCRIBED_ELSEWHERE = {
    "raw": "the tables of the [input contract](../dbt_project/CONTRACT.md), and quarantined rows",
    "staging": "raw tables with names and types, latest version of each row",
    "intermediate": "one step of a calculation each",
    "marts": "[published tables](../dbt_project/TABLES.md)",
    "reporting": "[published tables](../dbt_project/TABLES.md)",
}


def _models(layer: str) -> list[dict[str, Any]]:
    files = sorted((DBT_PROJECT / "models" / layer).glob("*.yml"))
    return [model for file in files for model in yaml.safe_load(file.read_text(encoding="utf-8")).get("models", ())]


def _contexts(command: click.Command, context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(command, click.Group):
        for name, below in sorted(command.commands.items()):
            yield from _contexts(below, click.Context(below, info_name=name, parent=context, **_WIDTHS))


def _shown(text: str) -> str:
    """Return a text whose values in braces are dots."""
    return re.sub(r"\{.*?\}", "…", text)


def _in_line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Write the generated parts of every document, and generated macros."""
    parts = {file: generate(file.read_text(encoding="utf-8")) for file in documents()}
    for file, new in {**parts, **generated_macros()}.items():
        if not file.exists() or new != file.read_text(encoding="utf-8"):
            file.write_text(new, encoding="utf-8")
            click.echo(f"{file.relative_to(PROJECT_FOLDER)} written")


if __name__ == "__main__":
    main()
