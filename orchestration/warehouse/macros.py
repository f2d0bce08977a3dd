"""Lists of `ml` that dbt words and tests its rows with: written as macros, so that dbt runs alone.

Here belongs how a list becomes a macro. `make docs` writes the files, one test compares them.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml.restock import STEPS, Cause
from orchestration.home.settings import DBT_PROJECT

_MACRO = """{{# Generated from {source} by `make docs`: change it there. #}}
{{% macro {name}() -%}}
    {{{{ return([
{rows}
    ]) }}}}
{{%- endmacro %}}
"""


def generated_macros() -> Mapping[Path, str]:
    """Return the files of generated macros with what belongs in them."""
    causes = ({"code": cause.code, "text": cause.text, "remedy": cause.remedy} for cause in Cause)
    return {
        _file(name): _macro(name, source, rows)
        for name, source, rows in (
            ("order_steps", "ml/restock/steps.py", (step._asdict() for step in STEPS)),
            ("exception_causes", "ml/restock/exceptions.py", causes),
        )
    }


def _file(name: str) -> Path:
    return DBT_PROJECT / "macros" / f"{name}.sql"


def _macro(name: str, source: str, rows: Iterable[Mapping[str, Any]]) -> str:
    lines = ",\n".join(f"        {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return _MACRO.format(name=name, source=source, rows=lines)
