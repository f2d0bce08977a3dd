"""The data dictionary: the pages of `dbt docs` in one file, with the type of every column and example queries.

Belongs here: what dbt's pages need besides its manifest. Does not: descriptions and types (dbt_project/models), the
questions and their SQL (dbt_project/QUESTIONS.md).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.home.settings import DBT_PROJECT

QUESTIONS = DBT_PROJECT / "QUESTIONS.md"
_QUESTION = re.compile(
    r"^## \d+\. (?P<words>.+?)\n+(?P<note>.*?)```sql\n(?P<sql>.*?)```\n+(?P<answer>.*?)(?=^## |\Z)",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Question:
    """A question of an analyst.

    Attributes:
        words: the question.
        sql: its query of a published generation.
        answer: rows of the answer on the sample, each cell as text; without the header.
    """

    words: str
    sql: str
    answer: tuple[tuple[str, ...], ...]


def questions() -> list[Question]:
    """Return the questions with their SQL, in the order of the document."""
    return list(_read_questions(QUESTIONS.read_text(encoding="utf-8")))


def _read_questions(text: str) -> Iterator[Question]:
    for found in _QUESTION.finditer(text):
        rows = [line.strip("|").split("|") for line in found["answer"].splitlines() if line.startswith("|")]
        yield Question(found["words"], found["sql"].strip(), tuple(tuple(map(str.strip, row)) for row in rows[2:]))


def data_dictionary(pages: str, manifest: dict[str, Any], catalog: dict[str, Any]) -> str:
    """Return the data dictionary as one HTML file.

    Args:
        pages: the page that `dbt docs generate` wrote.
        manifest: its manifest; the descriptions of tables get the queries that read them.
        catalog: its catalogue without a table: types come from the contracts, so no warehouse is opened.
    """
    asked = questions()
    for node in [*manifest["nodes"].values(), *manifest["sources"].values()]:
        if node["resource_type"] not in ("model", "source"):
            continue
        relation = f"{node['schema']}.{node['name']}"
        examples = [_example(one) for one in asked if re.search(rf"\b{re.escape(relation)}\b", one.sql)]
        node["description"] = "\n\n".join([node["description"], *examples])
        kind = "nodes" if node["resource_type"] == "model" else "sources"
        catalog[kind][node["unique_id"]] = _catalogued(node)
    overview = next(block for block in manifest["docs"].values() if block["name"] == "__overview__")
    overview["block_contents"] = QUESTIONS.read_text(encoding="utf-8")
    for name, content in (("MANIFEST", manifest), ("CATALOG", catalog)):
        # No text may end the script that holds it.
        pages = pages.replace(f'"{name}.JSON INLINE DATA"', json.dumps(content).replace("</", "<\\/"))
    return pages


def written_pages(target: Path) -> str:
    """Return the data dictionary from what `dbt docs generate` left in its target folder."""
    manifest, catalog = (json.loads((target / f"{name}.json").read_text()) for name in ("manifest", "catalog"))
    return data_dictionary((target / "index.html").read_text(encoding="utf-8"), manifest, catalog)


def _example(question: Question) -> str:
    return f"Example: {question.words}\n\n```sql\n{question.sql}\n```"


def _catalogued(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table as dbt's catalogue describes one."""
    columns = {
        name: {"name": name, "type": column["data_type"] or "", "index": place, "comment": None}
        for place, (name, column) in enumerate(node["columns"].items(), start=1)
    }
    metadata = {"type": node["config"].get("materialized", "source"), "schema": node["schema"], "name": node["name"]}
    return {
        "metadata": metadata | {"database": node["database"], "comment": None, "owner": None},
        "columns": columns,
        "stats": {},
        "unique_id": node["unique_id"],
    }
