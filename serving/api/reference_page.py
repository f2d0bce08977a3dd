"""The reference page of the endpoint: the OpenAPI document as plain HTML.

FastAPI's own page loads its script from a content delivery network; this one needs no script and no other address, so
it works offline. GET routes are forms. Not here: what the routes do.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_EXAMPLE_ROWS = {
    "dataframe_records": [
        {
            "sku": "85123A",
            "location_id": "north",
            "period_start": "2011-11-07",
            "demand_units": 12,
            "is_in_stock": True,
        },
        {
            "sku": "85123A",
            "location_id": "north",
            "period_start": "2011-11-08",
            "demand_units": 7,
            "is_in_stock": True,
        },
    ],
    "params": {"horizon": 7},
}
_EXAMPLE_CSV = "sku,location_id,period_start,demand_units\n85123A,north,2011-11-07,12\n85123A,north,2011-11-08,\n"

INVOCATION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": (
            "JSON with exactly one of dataframe_split, dataframe_records, instances, inputs, and optionally params; or "
            "CSV with a header row. Rows are raw: history for demand_forecast, daily series for stock_anomalies, "
            "image_base64 for product_photos. Rows of demand_forecast after params.history_until are coming days "
            "with what is known about them; is_open 0 means no demand, for example after the last day of sale, because "
            "the model does not know product_seasons. null (CSV: empty) means not observed; NaN and Infinity are "
            "refused. Columns that the model does not declare are counted in X-InventoryBot-Ignored-Columns."
        ),
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "dataframe_split": {
                            "type": "object",
                            "required": ["columns", "data"],
                            "properties": {
                                "columns": {"type": "array", "items": {"type": "string"}},
                                "data": {"type": "array", "items": {"type": "array", "items": {}}},
                            },
                        },
                        "dataframe_records": {"type": "array", "items": {"type": "object"}},
                        "instances": {"type": "array", "items": {"type": "object"}},
                        "inputs": {"type": "object", "additionalProperties": {"type": "array", "items": {}}},
                        "params": {"type": "object"},
                    },
                },
                "example": _EXAMPLE_ROWS,
            },
            "text/csv": {"schema": {"type": "string"}, "example": _EXAMPLE_CSV},
        },
    }
}

_KNOWLEDGE = {
    "type": ["string", "null"],
    "description": "what a past day that stands beside the current generation was decided with; null = it was current",
}
TABLE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One page, sorted by key; the header Link names the next page",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["generation", "as_of", "knowledge", "rows", "next_cursor"],
                    "properties": {
                        "generation": {"type": "string"},
                        "as_of": {"type": "string", "format": "date", "description": "business day of the generation"},
                        "knowledge": _KNOWLEDGE,
                        "rows": {"type": "array", "items": {"type": "object"}},
                        "next_cursor": {"type": ["string", "null"]},
                    },
                }
            },
            "text/csv": {"schema": {"type": "string"}},
        },
    },
    404: {"description": "Nothing is published of the day as_of; the message names the days that are there"},
    410: {"description": "The generation of the cursor is no longer kept; ask again without cursor"},
}
GENERATIONS_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The current generation first, then past days, the latest first",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["generations"],
                    "properties": {
                        "generations": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["as_of", "generation", "is_current", "published_at", "knowledge"],
                                "properties": {
                                    "as_of": {"type": "string", "format": "date"},
                                    "generation": {"type": "string"},
                                    "is_current": {"type": "boolean"},
                                    "published_at": {"type": ["string", "null"], "format": "date-time"},
                                    "knowledge": _KNOWLEDGE,
                                },
                            },
                        }
                    },
                }
            }
        },
    }
}
INVOCATION_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One object per row of the model's answer",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["predictions"],
                    "properties": {"predictions": {"type": "array", "items": {"type": "object"}}},
                }
            }
        },
    },
    413: {"description": "The body is larger than the endpoint accepts"},
    415: {"description": "Neither JSON nor CSV in UTF-8"},
}
_EVERY_ANSWER = {
    "400": "The request cannot be read; the message says what to send instead",
    "503": "Nothing is published, or a pinned model is refused; the message has the remedy",
}
_ERROR = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["error_code", "message"],
            "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
        }
    }
}

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; border-bottom: 1px solid var(--line); }
section { border: 1px solid var(--line); border-radius: .5rem; padding: .25rem 1rem 1rem; margin: 1rem 0; }
h3 { font: 600 1rem ui-monospace, monospace; margin: .75rem 0 .25rem; overflow-wrap: anywhere; }
h3 b { display: inline-block; min-width: 3.5rem; color: #0b6bcb; }
h3 b.post { color: #2e7d32; }
table { border-collapse: collapse; width: 100%; }
td { padding: .25rem .75rem .25rem 0; vertical-align: top; }
td:first-child { font-family: ui-monospace, monospace; white-space: nowrap; }
td:nth-child(2) { color: color-mix(in srgb, currentColor 65%, transparent); }
input, select { font: inherit; width: 100%; box-sizing: border-box; }
td:last-child { width: 16rem; }
button { font: inherit; padding: .25rem 1rem; margin-top: .5rem; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .375rem; font-size: .875rem; }
""".strip()

SECURITY_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
            "img-src data:",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an application, with the error answers that it really gives.

    Args:
        app: routes, title and version; FastAPI assumes 422 with a list of problems for every route with parameters.
    """
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for methods in document["paths"].values():
            for operation in methods.values():
                answers = operation["responses"]
                answers.pop("422", None)
                for status, description in _EVERY_ANSWER.items():
                    answers[status] = {"description": description}
                for status, answer in answers.items():
                    if status != "200":
                        answer["content"] = _ERROR
        document.get("components", {}).get("schemas", {}).clear()
        app.openapi_schema = document
    return app.openapi_schema


def render(openapi: Mapping[str, Any], address: str) -> str:
    """Return the page.

    Args:
        openapi: the OpenAPI document of the application.
        address: of the endpoint as the reader reached it, for the examples.
    """
    info = openapi["info"]
    groups: dict[str, list[str]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            section = "".join(_operation(path, method, operation, address))
            groups.setdefault(operation.get("tags", ["other"])[0], []).append(section)
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(sections)}" for tag, sections in groups.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])} Errors are JSON with error_code and message. "
        'For programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{body}</body></html>"
    )


def _operation(path: str, method: str, operation: Mapping[str, Any], address: str) -> Iterator[str]:
    yield f'<section><h3><b class="{method}">{method.upper()}</b> {escape(path)}</h3>'
    yield f"<p>{escape(operation.get('summary', ''))}</p>"
    parameters = operation.get("parameters", [])
    if method == "get":
        yield f'<form method="get" action="{escape(path)}">'
        yield from _parameters(parameters, path, is_form=True)
        yield "<button>Send</button></form>"
    else:
        yield from _parameters(parameters, path, is_form=False)
        yield from _body(address + path, operation.get("requestBody"))
    yield "</section>"


def _parameters(parameters: list[Mapping[str, Any]], path: str, *, is_form: bool) -> Iterator[str]:
    if not parameters:
        return
    yield "<table>"
    # Paging comes after what is asked for.
    for parameter in sorted(parameters, key=lambda parameter: parameter["name"] in ("limit", "cursor", "format")):
        name, schema = parameter["name"], parameter["schema"]
        identity = escape(f"{path.strip('/').replace('/', '-')}-{name}")
        label = f'<label for="{identity}">{escape(name)}</label>' if is_form else escape(name)
        field = f"<td>{_field(identity, name, schema)}</td>" if is_form else ""
        about = parameter.get("description") or schema.get("description") or ""
        yield f"<tr><td>{label}</td><td>{escape(_kind(schema))}</td><td>{escape(about)}</td>{field}</tr>"
    yield "</table>"


def _field(identity: str, name: str, schema: Mapping[str, Any]) -> str:
    inner = next((choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"), schema)
    inner = inner.get("items", inner)
    if "enum" in inner:
        options = "".join(f"<option>{escape(choice)}</option>" for choice in ["", *inner["enum"]])
        return f'<select id="{identity}" name="{escape(name)}">{options}</select>'
    kind = "date" if inner.get("format") == "date" else "text"
    return f'<input type="{kind}" id="{identity}" name="{escape(name)}">'


def _kind(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"] if choice.get("type") != "null")
    if "enum" in schema:
        return " or ".join(str(choice) for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"{_kind(schema['items'])}, repeatable"
    kind = str(schema.get("format") or schema.get("type") or "text")
    bounds = [f"{sign} {schema[key]:g}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in schema]
    return " ".join([{"string": "text"}.get(kind, kind), *bounds])


def _body(url: str, body: Mapping[str, Any] | None) -> Iterator[str]:
    if body is None:
        return
    yield f"<p>{escape(body['description'])}</p>"
    for kind, content in body["content"].items():
        example = content["example"]
        text = example if isinstance(example, str) else json.dumps(example, indent=1)
        command = f"curl -H 'Content-Type: {kind}' --data-binary @rows {url}\n\n{text}"
        yield f"<pre>{escape(command)}</pre>"
