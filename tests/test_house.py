"""The house keeps its measure: no import circle, and nothing so long or so wide that nobody reads it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grimp
import numpy as np
from scipy.sparse.csgraph import connected_components

from orchestration.home.settings import DBT_PROJECT, PROJECT_FOLDER

PACKAGES = ("orchestration", "ml", "serving")
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS, MOST_LINES_OF_SQL = 600, 80, 10, 150


def modules() -> list[Path]:
    """Return the modules but for migrations: what a store has run once is fixed for ever, however long it is."""
    found = [path for package in PACKAGES for path in (PROJECT_FOLDER / package).rglob("*.py")]
    return [path for path in found if "migrations" not in path.parts]


def name(path: Path) -> str:
    return str(path.relative_to(PROJECT_FOLDER))


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name(path)}:{node.name}", node


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from the first statement to the last one; the docstring is none."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    named = function.args
    return len([one for one in (*named.posonlyargs, *named.args, *named.kwonlyargs) if one.arg not in ("self", "cls")])


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    names = sorted(graph.modules)
    imports = np.array([[graph.direct_import_exists(importer=one, imported=other) for other in names] for one in names])
    _, components = connected_components(imports, connection="strong")
    circles: dict[int, set[str]] = {}
    for component, one in zip(components, names, strict=True):
        circles.setdefault(component, set()).add(one)
    assert [sorted(circle) for circle in circles.values() if len(circle) > 1] == []


def test_a_module_has_at_most_600_lines() -> None:
    assert [name(path) for path in modules() if lines(path) > MOST_LINES] == []


def test_a_function_has_at_most_80_lines_of_code() -> None:
    assert [found for found, one in functions() if lines_of_code(one) > MOST_LINES_OF_A_FUNCTION] == []


def test_a_function_has_at_most_10_parameters() -> None:
    assert [found for found, one in functions() if parameters(one) > MOST_PARAMETERS] == []


def test_a_model_macro_or_test_of_the_warehouse_has_at_most_150_lines() -> None:
    files = [path for folder in ("models", "macros", "tests") for path in (DBT_PROJECT / folder).rglob("*.sql")]
    assert [name(path) for path in files if lines(path) > MOST_LINES_OF_SQL] == []
