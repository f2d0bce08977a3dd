"""Lists of `ml` that dbt words and tests its rows with: written as macros, so that dbt runs alone.

Here belongs how a list becomes a macro. `make docs` writes the files, one test compares them.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml.restock.steps import STEPS
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
    steps = _macro("order_steps", "ml/restock/steps.py", (step._asdict() for step in STEPS))
    return {DBT_PROJECT / "macros" / "order_steps.sql": steps}


def _macro(name: str, source: str, rows: Iterable[Mapping[str, Any]]) -> str:
    lines = ",\n".join(f"        {json.dumps(row, ensure_ascii=False)}" for row in rows)
    return _MACRO.format(name=name, source=source, rows=lines)
