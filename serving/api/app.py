"""The HTTP endpoint: published tables for outside systems, registered models in MLflow's scoring protocol.

Here: routes, status codes, limits. Not here: reading generations (published/), the body of an invocation
(invocations.py), loading models (models.py), the reference page (reference_page.py).
"""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from serving.api import invocations, reference_page
from serving.api.invocations import Invocation, MalformedBodyError
from serving.api.models import LoadedModel, ModelRefusedError, Models
from serving.published.generations import (
    DayNotPublishedError,
    Generation,
    GenerationRemovedError,
    Generations,
    NothingPublishedError,
)
from serving.published.tables import TABLES, CursorError, Page, page

DEFAULT_MODEL = "demand_forecast"
_REASON_CHARACTERS = 400
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the endpoint serves and how much it takes.

    Attributes:
        published: folder of generations.
        tracking_uri: MLflow registry that holds the pinned model versions.
        max_body_bytes: largest body of an invocation, bytes.
        page_rows: rows of a page where the caller gives no limit.
        max_page_rows: most rows of a page.
        concurrent_predictions: invocations computed at once; others wait.
        waiting_predictions: invocations that may wait; more are turned away.
        preloaded: models loaded in the background from the start, so that nobody waits for libraries to be imported.
    """

    published: Path
    tracking_uri: str
    max_body_bytes: int = 16 * 1024 * 1024
    page_rows: int = 1_000
    max_page_rows: int = 10_000
    concurrent_predictions: int = 2
    waiting_predictions: int = 32
    preloaded: tuple[str, ...] = ()


_ANY = "values to match, as often as needed; default: all"


class _Filters(BaseModel):
    model_config = ConfigDict(extra="forbid")
    sku: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=500, description=_ANY)
    as_of: date | None = Field(
        None, description="business day whose generation is read; default: the current one; /v1/generations lists them"
    )
    limit: int | None = Field(None, ge=1, description="rows per page; default: 1,000")
    cursor: str | None = Field(None, max_length=2_000, description="next_cursor of the previous page")
    format: Literal["json", "csv"] | None = Field(
        None, description="format of the answer; default: by the Accept header"
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_means_absent(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        # The forms of the reference page send a field that was left empty as empty text.
        return {name: value for name, value in given.items() if value not in ("", [""])}


class _PlaceFilters(_Filters):
    location_id: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=500, description=_ANY)


class _DayFilters(_PlaceFilters):
    from_day: date | None = Field(None, description="first day; default: the first there is")
    to_day: date | None = Field(None, description="last day; default: the last there is")


class StockFilters(_PlaceFilters):
    """Parameters of /v1/stock."""


class ForecastFilters(_DayFilters):
    """Parameters of /v1/forecasts."""


class AnomalyFilters(_DayFilters):
    """Parameters of /v1/anomalies."""

    min_score: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="smallest anomaly_score, 0 to 1; default: 0"
    )


class RecommendationFilters(_PlaceFilters):
    """Parameters of /v1/recommendations."""

    supplier_id: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=500, description=_ANY)
    status: list[Literal["order", "no_order", "exception"]] = Field([], description=_ANY)


class TransferFilters(_Filters):
    """Parameters of /v1/transfers."""

    from_location_id: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=500, description=_ANY)
    to_location_id: list[Annotated[str, Field(max_length=200)]] = Field([], max_length=500, description=_ANY)
    state: list[
        Literal["proposed", "approved", "exported", "acknowledged", "rejected", "received", "expired", "cancelled"]
    ] = Field([], description=_ANY)


@dataclass
class _Served:
    settings: Settings
    generations: Generations
    models: Models
    waiting: int = 0
    limiter: anyio.CapacityLimiter | None = field(default=None)


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it opens nothing before the first request and follows each publication by itself.

    Args:
        settings: what to serve; the folder may be empty, then every data route answers 503 with the remedy.
    """
    served = _Served(settings, Generations(settings.published), Models(settings.tracking_uri))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=_preload, args=(served,), name="preload", daemon=True).start()
        yield
        served.generations.close()
        served.models.close()

    app = FastAPI(
        title="InventoryBot",
        version=metadata.version("inventorybot"),
        description="Published stock, forecasts, recommendations and anomalies, and the models behind them.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.served = served
    _add_error_answers(app)
    _add_state_routes(app, served)
    _add_table_routes(app, served)
    _add_model_routes(app, served)
    app.openapi = lambda: reference_page.openapi(app)  # type: ignore[method-assign]
    return app


def _preload(served: _Served) -> None:
    for name in served.settings.preloaded:
        try:
            pin = served.generations.current().models.get(name)
            if pin is not None:
                served.models.get(name, pin)
        except (NothingPublishedError, ModelRefusedError) as error:
            _LOG.warning("%s is not loaded yet: %s", name, error)


def _add_state_routes(app: FastAPI, served: _Served) -> None:
    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        page = reference_page.render(app.openapi(), str(request.base_url).rstrip("/"))
        return Response(page, media_type="text/html", headers=reference_page.SECURITY_HEADERS)

    @app.get("/ping", tags=["state"], summary="Check that the process answers")
    def ping() -> Response:
        return Response("\n")

    @app.get("/health", tags=["state"], summary="Check that something is published; 503 with the remedy otherwise")
    def health() -> dict[str, Any]:
        generation = served.generations.current()
        with served.generations.cursor(generation) as cursor:
            cursor.execute(f"select 1 from {TABLES['stock'].relation} limit 1").fetchall()
        return {
            "status": "ok",
            "generation": generation.name,
            "as_of": generation.as_of,
            "models": {
                name: {"version": pin["version"], "is_loaded": served.models.loaded().get(name) == pin["version"]}
                for name, pin in generation.models.items()
            },
        }

    @app.get(
        "/version", tags=["state"], summary="Show the versions of the endpoint, MLflow, the generation and its models"
    )
    def version() -> dict[str, Any]:
        program = {"inventorybot": app.version, "mlflow": metadata.version("mlflow")}
        try:
            generation = served.generations.current()
        except NothingPublishedError:
            return {**program, "generation": None}
        facts = ("as_of", "run_id", "published_at", "code_version", "content_hash")
        return {
            **program,
            "generation": generation.name,
            **{fact: generation.manifest.get(fact) for fact in facts},
            "models": {name: pin["version"] for name, pin in generation.models.items()},
        }


def _add_table_routes(app: FastAPI, served: _Served) -> None:
    @app.get(
        "/v1/generations",
        tags=["tables"],
        summary="Business days that can be asked for with as_of: the current generation, then the past days beside it.",
        responses=reference_page.GENERATIONS_ANSWER,
    )
    def generations() -> dict[str, Any]:
        current = served.generations.current()
        beside = [each for each in served.generations.beside() if each.as_of != current.as_of]
        return {
            "generations": [
                {
                    "as_of": each.as_of,
                    "generation": each.name,
                    "is_current": each is current,
                    "published_at": each.manifest.get("published_at"),
                    "knowledge": each.knowledge,
                }
                for each in (current, *beside)
            ]
        }

    def answer(request: Request, name: str, filters: _Filters) -> Response:
        wanted = filters.model_dump(exclude={"as_of", "limit", "cursor", "format"})
        limit = min(filters.limit or served.settings.page_rows, served.settings.max_page_rows)
        found = page(served.generations, name, wanted, limit, filters.cursor, as_of=filters.as_of)
        as_csv = filters.format == "csv" if filters.format else _prefers_csv(request.headers.get("accept", ""))
        headers = {"X-InventoryBot-Generation": found.generation, "X-InventoryBot-As-Of": found.as_of}
        if found.next_cursor is not None:
            following = request.url.include_query_params(cursor=found.next_cursor)
            headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
        if as_csv:
            return Response(_as_csv(found), media_type="text/csv; charset=utf-8", headers=headers)
        return Response(_as_json(found), media_type="application/json", headers=headers)

    @app.get("/v1/stock", tags=["tables"], summary=TABLES["stock"].description, responses=reference_page.TABLE_ANSWER)
    def stock(request: Request, filters: Annotated[StockFilters, Query()]) -> Response:
        return answer(request, "stock", filters)

    @app.get(
        "/v1/forecasts", tags=["tables"], summary=TABLES["forecasts"].description, responses=reference_page.TABLE_ANSWER
    )
    def forecasts(request: Request, filters: Annotated[ForecastFilters, Query()]) -> Response:
        return answer(request, "forecasts", filters)

    @app.get(
        "/v1/recommendations",
        tags=["tables"],
        summary=TABLES["recommendations"].description,
        responses=reference_page.TABLE_ANSWER,
    )
    def recommendations(request: Request, filters: Annotated[RecommendationFilters, Query()]) -> Response:
        return answer(request, "recommendations", filters)

    @app.get(
        "/v1/transfers", tags=["tables"], summary=TABLES["transfers"].description, responses=reference_page.TABLE_ANSWER
    )
    def transfers(request: Request, filters: Annotated[TransferFilters, Query()]) -> Response:
        return answer(request, "transfers", filters)

    @app.get(
        "/v1/anomalies", tags=["tables"], summary=TABLES["anomalies"].description, responses=reference_page.TABLE_ANSWER
    )
    def anomalies(request: Request, filters: Annotated[AnomalyFilters, Query()]) -> Response:
        return answer(request, "anomalies", filters)


def _add_model_routes(app: FastAPI, served: _Served) -> None:
    async def invoke(request: Request, name: str) -> Response:
        kind = _content_type(request.headers.get("content-type", ""))
        body = await _body(request, served.settings.max_body_bytes)
        if served.waiting >= served.settings.concurrent_predictions + served.settings.waiting_predictions:
            raise HTTPException(503, "too many invocations are waiting; try again", headers={"Retry-After": "1"})
        if served.limiter is None:
            served.limiter = anyio.CapacityLimiter(served.settings.concurrent_predictions)
        served.waiting += 1
        try:
            return await anyio.to_thread.run_sync(_answer, served, name, kind, body, limiter=served.limiter)
        finally:
            served.waiting -= 1

    @app.post(
        "/invocations",
        tags=["models"],
        summary=f"Predict with {DEFAULT_MODEL}, in MLflow's scoring protocol",
        openapi_extra=reference_page.INVOCATION_BODY,
        responses=reference_page.INVOCATION_ANSWER,
    )
    async def invocations_default(request: Request) -> Response:
        return await invoke(request, DEFAULT_MODEL)

    @app.post(
        "/models/{name}/invocations",
        tags=["models"],
        summary="Predict with a model of the published generation, in MLflow's scoring protocol",
        openapi_extra=reference_page.INVOCATION_BODY,
        responses=reference_page.INVOCATION_ANSWER,
    )
    async def invocations_named(request: Request, name: str) -> Response:
        return await invoke(request, name)


def _answer(served: _Served, name: str, kind: str, body: bytes) -> Response:
    generation = served.generations.current()
    model = _pinned_model(served, generation, name)
    if kind == "text/csv":
        invocation = invocations.parse_csv(body, model.columns)
    else:
        invocation = invocations.parse_json(body, model.columns, model.parameters)
    headers = {
        "X-InventoryBot-Model": f"{model.name}/{model.version}",
        "X-InventoryBot-Generation": generation.name,
        "X-InventoryBot-As-Of": generation.as_of,
        "X-InventoryBot-Ignored-Columns": str(invocation.ignored_columns),
    }
    return Response(_predicted(model, invocation), media_type="application/json", headers=headers)


def _pinned_model(served: _Served, generation: Generation, name: str) -> LoadedModel:
    pin = generation.models.get(name)
    if pin is None:
        pinned = ", ".join(generation.models) or "none"
        raise HTTPException(404, f"the published generation has no model of this name; it has {pinned}")
    return served.models.get(name, pin)


def _predicted(model: LoadedModel, invocation: Invocation) -> str:
    from mlflow.exceptions import MlflowException

    try:
        return invocations.to_json(model.predict(invocation.rows, invocation.parameters))
    except (ValueError, MlflowException) as error:
        reference = uuid.uuid4().hex[:8]
        _LOG.warning("%s version %s refused rows (%s): %r", model.name, model.version, reference, error)
        reason = str(error)
        if isinstance(error, MlflowException) or invocations.quotes(reason, invocation):
            reason = f"its reason quotes them and is in the server's log under {reference}"
        raise MalformedBodyError(f"{model.name} refuses these rows: {reason[:_REASON_CHARACTERS]}") from error


def _content_type(header: str) -> str:
    kind, *settings = (part.strip().lower() for part in header.split(";"))
    if kind not in ("application/json", "text/csv"):
        raise HTTPException(415, "send Content-Type application/json or text/csv")
    if any(setting not in ("", "charset=utf-8", 'charset="utf-8"') for setting in settings):
        raise HTTPException(415, "send the body in UTF-8; charset is the only setting of Content-Type")
    return kind


async def _body(request: Request, most: int) -> bytes:
    # FastAPI's own limit answers with plain text, without the limit and the remedy.
    too_large = HTTPException(413, f"the body is larger than {most} bytes; send the rows in several invocations")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > most:
        raise too_large
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > most:
            raise too_large
    return bytes(parts)


def _prefers_csv(accept: str) -> bool:
    weights = {"text/csv": 0.0, "application/json": 0.0}
    for part in accept.split(","):
        kind, *settings = (piece.strip().lower() for piece in part.split(";"))
        weight = next((setting[2:] for setting in settings if setting.startswith("q=")), "1")
        if kind in weights:
            weights[kind] = float(weight) if weight.replace(".", "", 1).isdigit() else 0.0
    return weights["text/csv"] > weights["application/json"]


def _as_json(found: Page) -> str:
    content = {
        "generation": found.generation,
        "as_of": found.as_of,
        "knowledge": found.knowledge,
        "rows": [dict(zip(found.columns, map(_plain, row), strict=True)) for row in found.rows],
        "next_cursor": found.next_cursor,
    }
    return json.dumps(content, allow_nan=False, default=str, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def _as_csv(found: Page) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(found.columns)
    for row in found.rows:
        writer.writerow([value if isinstance(value, Decimal) else _plain(value) for value in row])
    return text.getvalue()


_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "BAD_REQUEST",
    410: "RESOURCE_DOES_NOT_EXIST",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}


def _refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": message}
    return JSONResponse(content, status, headers=dict(headers or {}))


def _add_error_answers(app: FastAPI) -> None:
    @app.exception_handler(MalformedBodyError)
    @app.exception_handler(CursorError)
    async def malformed(_: Request, error: Exception) -> Response:
        return _refusal(400, str(error))

    @app.exception_handler(RequestValidationError)
    async def unlike(_: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'][1:]))}: {problem['msg']}" for problem in error.errors()[:10]
        )
        return _refusal(400, f"the request is not understood: {problems[:500]}; /docs lists every parameter")

    @app.exception_handler(DayNotPublishedError)
    async def no_such_day(_: Request, error: DayNotPublishedError) -> Response:
        return _refusal(404, str(error))

    @app.exception_handler(GenerationRemovedError)
    async def gone(_: Request, error: GenerationRemovedError) -> Response:
        return _refusal(410, str(error))

    @app.exception_handler(NothingPublishedError)
    @app.exception_handler(ModelRefusedError)
    async def unavailable(_: Request, error: Exception) -> Response:
        _LOG.warning("%s", error, exc_info=error.__cause__)
        return _refusal(503, str(error), {"Retry-After": "30"})

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return _refusal(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        # Starlette hands the error on to the server afterwards, which logs it with its stack.
        reference = uuid.uuid4().hex[:8]
        _LOG.error("unexpected %s (%s)", type(error).__name__, reference)
        return _refusal(500, f"unexpected error; look in the server's log for {reference}")
