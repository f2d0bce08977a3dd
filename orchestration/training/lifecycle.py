"""The life cycle that every model shares: is training needed, train, judge, register, promote.

Belongs here: fingerprints, registration, epochs. Does not: what a model learns (ml/) or reads (defs/assets/models.py).
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.home.fingerprints import code_fingerprint, library_fingerprint, text_fingerprint
from orchestration.home.provenance import LOCK, training_environment
from orchestration.home.settings import Settings
from orchestration.training.datasets import note_of
from orchestration.warehouse.exports import content_hash

if TYPE_CHECKING:
    import pandas as pd

    from ml.tracking import DatasetNote, Tracking, TrainingRecord, Version
    from serving.store import Epoch, Store

MODELS = ("demand_forecast", "stock_anomalies", "product_photos")

RETRY_DAYS = 7
"""What failed its gate is tried again after so many days: tried every day, it would pass by chance some day."""

RETRY_GROWTH = 0.1
"""Share of rows more or less that makes the data others than those it failed on."""


class When(StrEnum):
    """When a model is trained."""

    MISSING = "missing"
    CHANGED = "changed"
    ALWAYS = "always"


class NothingToLearn(Exception):
    """The home holds too little to train this model; the message says what is needed."""


class NoChampion(Exception):
    """A model is needed and none has passed its gate."""


@dataclass(frozen=True)
class Headline:
    """The one figure a reader of the summary sees.

    Attributes:
        metric: its name and unit, and whether less or more is better.
        champion: its value for the registered model; None when it could not be measured.
        baseline: its value for the hardest competitor on the same data; None likewise.
        baseline_name: what that competitor is.
        ratio: the champion's value over the competitor's; None likewise.
        low: end of the 90 % interval of the ratio; None likewise.
        high: its other end.
    """

    metric: str
    champion: float | None
    baseline: float | None
    baseline_name: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def beside_hardest_competitor(cls, metric: str, verdict: "pd.DataFrame", measure: str) -> "Headline":
        """Return the headline of a measure from the row of the verdict whose competitor comes closest or is ahead."""
        from ml.metrics import hardest

        row = hardest(verdict, measure)
        if row is None:
            return cls(metric, None, None, "none")
        figures = {name: float(row[name]) for name in ("ours", "theirs", "ratio", "low", "high")}
        known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        competitor = str(row["competitor"]).replace("_", " ")
        return cls(metric, known["ours"], known["theirs"], competitor, known["ratio"], known["low"], known["high"])


@dataclass(frozen=True)
class Trained:
    """What a training made.

    Attributes:
        verdict: one row per criterion of the gate, as `ml.metrics.verdict_frame`.
        metrics: all figures, by name.
        headline: the one for the summary.
        model_card: Markdown.
        input_example: raw rows as an invocation sends them.
        output_example: rows of the answer.
        figures: name -> matplotlib figure or PNG bytes.
        tables: name -> frame.
        settings: of the model, and what its training chose itself; logged beside the parameters.
        is_kept: whether it is a model that was trained before, judged again.
    """

    verdict: "pd.DataFrame"
    metrics: Mapping[str, float | Sequence[float]]
    headline: Headline
    model_card: str
    input_example: "pd.DataFrame"
    output_example: "pd.DataFrame"
    figures: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, "pd.DataFrame"] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_kept: bool = False


@dataclass(frozen=True)
class Training:
    """How one model of a home is trained and judged.

    Attributes:
        model: experiment, registered model and asset name.
        code: folders or files of the project that make the model.
        judge: those that evaluate it and decide whether it may be champion.
        libraries: packages whose version changes what it learns.
        parameters: of the training, beside the seed of the home.
        stand_in: what does the work of the model while no version has passed; empty = nothing of it is published then.
        fit: called with the settings of the home, an empty folder for the model, the folder of the champion it is
            judged beside (None = there is none, or its files are gone) and the folder of a model that the same code,
            data and parameters made (None = train): that one is judged again and not trained.
    """

    model: str
    code: Sequence[str]
    judge: Sequence[str]
    libraries: Sequence[str]
    parameters: Mapping[str, Any]
    fit: Callable[[Settings, Path, Path | None, Path | None], Trained]
    stand_in: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a model in this run.

    Attributes:
        champion: the champion now; None = none has passed.
        trained: the version trained; None = none.
        verdict: on that version.
        figures: of its training, the reason first.
        note: what became of it, in words.
        record: what MLflow keeps of the training; None = none.
        page: path of its run in the pages of MLflow; empty = none.
    """

    champion: "Version | None"
    trained: "Version | None"
    verdict: "pd.DataFrame | None"
    figures: Mapping[str, Any]
    note: str
    record: "TrainingRecord | None" = None
    page: str = ""

    def failed_criteria(self) -> list[str]:
        """Return the criteria of the gate that keep the trained version from being champion."""
        return self._criteria("passed")

    def unmet_criteria(self) -> list[str]:
        """Return the criteria that the trained version does not meet, blocking or not."""
        return self._criteria("met")

    def _criteria(self, column: str) -> list[str]:
        if self.verdict is None:
            return []
        return [str(name) for name in self.verdict.loc[~self.verdict[column].astype(bool), "criterion"]]


def not_below(
    metrics: Mapping[str, float],
    competitor: str,
    names: Mapping[str, str],
    measured_on: str,
    intervals: Mapping[str, tuple[float, float]],
) -> "pd.DataFrame":
    """Return the verdict that no metric may be below that of the competitor.

    Args:
        metrics: ours by name, the competitor's with its name in front.
        competitor: its name.
        names: those that are judged, and how they are called in words.
        measured_on: what both were measured on, in words.
        intervals: 90 % interval of the ratio of each.
    """
    from ml.metrics import Criterion, verdict_frame

    return verdict_frame(
        [
            Criterion(
                measure,
                value=metrics[name],
                threshold=metrics[f"{competitor}_{name}"],
                needed="ratio at least 1",
                blocks=True,
                competitor=competitor,
                ours=metrics[name],
                theirs=metrics[f"{competitor}_{name}"],
                low=intervals[name][0],
                high=intervals[name][1],
                is_more_better=True,
                name=f"{name} not below {competitor}, {measured_on}",
            )
            for name, measure in names.items()
        ]
    )


def epoch_name(model: str) -> str:
    """Return the name of the epoch row that decides which version of a model is champion."""
    return f"champion/{model}"


def verdict_name(model: str) -> str:
    """Return the name of the epoch row that remembers how the latest training of a model was judged."""
    return f"verdict/{model}"


def bring_up_to_date(
    training: Training,
    settings: Settings,
    *,
    when: When,
    data: Sequence[Path],
    tracking: "Tracking",
    store: "Store",
    run_id: str,
    tags: Mapping[str, str] | None = None,
) -> Outcome:
    """Train a model if it is needed and promote it if it passes its gate.

    Args:
        training: of the model.
        settings: of the home.
        when: `missing` trains only a model without champion, `changed` also one whose data, code, libraries or
            parameters have changed; where only its judge has changed, the model is judged again without a training.
            Neither does the same twice, nor tries again what failed its gate before there is reason to (`RETRY_DAYS`,
            `RETRY_GROWTH`). `always` trains.
        data: Parquet files it learns from; their content is the data fingerprint.
        tracking: MLflow.
        store: online store; its epoch row decides the champion, the alias follows.
        run_id: Dagster run.
        tags: what else to tell of the run, such as the business day of its data.
    """
    from ml.tracking import TrainingRecord, training_fingerprint

    model = training.model
    champion = repair_champion(model, tracking, store)
    if when is When.MISSING and champion is not None:
        return Outcome(champion, None, None, {}, f"champion is version {champion.version}, nothing trained")
    prints = _Prints.of(training, settings, data)
    fingerprint = training_fingerprint(prints.data, prints.code, prints.parameters)
    attempt = _Attempt(
        recipe=text_fingerprint(prints.code, prints.judge, sorted(prints.parameters.items())),
        rows=prints.rows,
        business_day=(tags or {}).get("as_of"),
        day=datetime.now(UTC).date().isoformat(),
    )
    kept = None if when is When.ALWAYS else tracking.training_fingerprint_seen(model, fingerprint)
    if kept is not None and _was_judged_alike(kept, attempt, store):
        judged = "passed" if kept.passed else "failed"
        note = (
            f"data, code and parameters are those of version {kept.version}, which {judged} its gate; nothing trained"
        )
        return Outcome(champion, None, None, {}, note)
    failed = _failure_that_holds(model, attempt, store)
    if when is not When.ALWAYS and failed is not None:
        return Outcome(champion, None, None, {}, f"{failed}; nothing trained")

    fence, began = store.claim(epoch_name(model), run_id, {}), datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="inventorybot_") as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        try:
            trained = training.fit(settings, folder, _folder_of(champion, tracking), _folder_of(kept, tracking))
        except NothingToLearn as reason:
            return Outcome(champion, None, None, {}, f"nothing trained: {reason}")
        record = TrainingRecord(
            name=model,
            saved_model_folder=folder,
            input_example=trained.input_example,
            output_example=trained.output_example,
            verdict=trained.verdict,
            is_publication_blocked=champion is None and not training.stand_in,
            metrics=trained.metrics,
            parameters={**prints.parameters, **trained.settings},
            fingerprint=fingerprint,
            data_fingerprint=prints.data,
            code_fingerprint=prints.code,
            model_card=trained.model_card,
            figures=trained.figures,
            tables=trained.tables,
            datasets=prints.datasets,
            environment=training_environment(),
            source=training.code[-1] if training.code else "",
            lock=LOCK if LOCK.is_file() else None,
            tags={**(tags or {}), "dagster_run_id": run_id, "judge_fingerprint": prints.judge},
            started_at=began,
        )
        version = tracking.log_training(record)
    _remember(model, version, trained.verdict, attempt, run_id, store)
    again = f", which is version {kept.version} judged again," if kept and trained.is_kept else ""
    outcome = Outcome(
        champion,
        version,
        trained.verdict,
        trained.figures,
        f"version {version.version}{again} failed its gate; champion stays {champion.version if champion else 'none'}",
        record,
        tracking.page(version),
    )
    if not version.passed:
        stands = f"; {training.stand_in}" if champion is None and training.stand_in else ""
        return replace(outcome, note=outcome.note + stands)
    store.advance(epoch_name(model), fence, version.version, asdict(trained.headline))
    promoted = tracking.promote(model, version.version)
    return replace(outcome, champion=promoted, note=f"version {version.version}{again} is champion")


@dataclass(frozen=True)
class _Prints:
    """What a model is made and judged with, as fingerprints.

    Attributes:
        data: of the content it learns from.
        code: of the code and the libraries that make it.
        judge: of the code that judges it.
        parameters: of the training, the seed among them.
        rows: rows of the data.
        datasets: what the data is, file by file.
    """

    data: str
    code: str
    judge: str
    parameters: Mapping[str, Any]
    rows: int
    datasets: "Sequence[DatasetNote]"

    @classmethod
    def of(cls, training: Training, settings: Settings, data: Sequence[Path]) -> "_Prints":
        contents = [content_hash(path) for path in data]
        return cls(
            data=text_fingerprint(*contents),
            code=text_fingerprint(code_fingerprint(*training.code), library_fingerprint(training.libraries)),
            judge=code_fingerprint(*training.judge),
            parameters={**training.parameters, "seed": settings.seed},
            rows=sum(rows for rows, _ in contents),
            datasets=[
                note_of(path, settings.home, rows, digest) for path, (rows, digest) in zip(data, contents, strict=True)
            ],
        )


@dataclass(frozen=True)
class _Attempt:
    """What a training was tried with, as far as it decides whether to try again.

    Attributes:
        recipe: fingerprint of code, judge, libraries and parameters.
        rows: rows of the data it learnt from.
        business_day: business day of its data, ISO; None = not known.
        day: day on which it was tried, ISO, UTC.
    """

    recipe: str
    rows: int
    business_day: str | None
    day: str

    def is_new_beside(self, before: "_Attempt") -> bool:
        """Tell whether there is reason to try again after an attempt that failed."""
        if self.recipe != before.recipe or abs(self.rows - before.rows) > RETRY_GROWTH * before.rows:
            return True
        return date.fromisoformat(self.clock_beside(before)) >= before.next_day(self)

    def clock_beside(self, other: "_Attempt") -> str:
        """Return the day of the clock that both attempts know: the business day, or else the calendar's."""
        return self.business_day if self.business_day and other.business_day else self.day

    def next_day(self, other: "_Attempt") -> date:
        """Return the day on which it may be tried again, by the clock that another attempt knows too."""
        return date.fromisoformat(self.clock_beside(other)) + timedelta(days=RETRY_DAYS)


def _remember(
    model: str, version: "Version", verdict: "pd.DataFrame", attempt: _Attempt, run_id: str, store: "Store"
) -> None:
    failed = [str(name) for name in verdict.loc[~verdict["passed"].astype(bool), "criterion"]]
    detail = {"passed": version.passed, "failed": failed, "attempt": asdict(attempt)}
    name = verdict_name(model)
    store.advance(name, store.claim(name, run_id, {}), version.version, detail)


def _was_judged_alike(version: "Version", attempt: _Attempt, store: "Store") -> bool:
    """Tell whether a version was made and judged by the code of an attempt."""
    verdicts = [epoch for epoch in store.epochs(verdict_name(version.name)) if epoch.value == version.version]
    return bool(verdicts) and _Attempt(**verdicts[-1].detail["attempt"]).recipe == attempt.recipe


def _failure_that_holds(model: str, attempt: _Attempt, store: "Store") -> str | None:
    """Say why a model is not tried again; None where it passed, was never tried, or there is reason to."""
    judged = store.epoch(verdict_name(model))
    if judged is None or judged.detail["passed"] or attempt.is_new_beside(_Attempt(**judged.detail["attempt"])):
        return None
    return _failure(judged)


def _failure(judged: "Epoch") -> str:
    before, failed = _Attempt(**judged.detail["attempt"]), ", ".join(judged.detail["failed"])
    return (
        f"version {judged.value} failed its gate on {before.clock_beside(before)} ({failed}); it is tried again from"
        f" {before.next_day(before)} on, or when code, settings or a tenth of the rows are others"
    )


def _folder_of(champion: "Version | None", tracking: "Tracking") -> Path | None:
    from ml.tracking import FolderHashError

    try:
        return None if champion is None else tracking.load_folder(champion)
    except FolderHashError:
        # A champion that cannot be read cannot predict either: training again is the way out.
        return None


def repair_champion(model: str, tracking: "Tracking", store: "Store") -> "Version | None":
    """Make the alias agree with the epoch row, which decides, and return the champion."""
    champion, epoch = tracking.champion(model), store.epoch(epoch_name(model))
    if epoch is not None and (champion is None or champion.version != epoch.value):
        champion = tracking.promote(model, epoch.value)
    return champion


def roll_back(model: str, version: str | None, tracking: "Tracking", store: "Store") -> "Version":
    """Make an earlier version the champion: first the epoch row, which decides, then the alias.

    Args:
        model: registered model.
        version: version to go back to; None = the champion before the present one.
        tracking: MLflow.
        store: online store.

    Raises:
        ValueError: there is no such model or version, or no champion before the present one.
    """
    if model not in MODELS:
        raise ValueError(f"no model is called {model!r}; the models are {', '.join(MODELS)}")
    history = store.epochs(epoch_name(model))
    if version is None:
        earlier = [epoch.value for epoch in history if epoch.value != history[-1].value]
        if not earlier:
            raise ValueError(
                f"{model} had no champion before the current one; `inventorybot train` makes another version"
            )
        version = earlier[-1]
    detail = next((epoch.detail for epoch in reversed(history) if epoch.value == version), None)
    if detail is None:
        raise ValueError(
            f"version {version} of {model} was never champion; name one that was, or run `inventorybot train`"
        )
    tracking.load_folder(tracking.version(model, version))
    store.advance(epoch_name(model), store.claim(epoch_name(model), "rollback", {}), version, detail)
    return tracking.promote(model, version)


def champion_of(model: str, tracking: "Tracking", store: "Store") -> "Version":
    """Return the champion of a model.

    Raises:
        NoChampion: none was promoted; the message says what to do.
    """
    champion = repair_champion(model, tracking, store)
    if champion is None:
        raise NoChampion(
            f"{model} has no champion: no version has passed its gate. Look at the verdicts in MLflow, or "
            "bring in more history and run `inventorybot train`"
        )
    return champion


def pinned_models(tracking: "Tracking") -> dict[str, dict[str, str]]:
    """Return what a generation's manifest says of each champion: version, run, hash of its folder."""
    champions = {model: tracking.champion(model) for model in MODELS}
    return {
        model: {"version": version.version, "run_id": version.run_id, "folder_sha256": version.folder_sha256}
        for model, version in champions.items()
        if version is not None
    }


def headlines(settings: Settings) -> list[list[str]]:
    """Return one row per champion for the summary.

    Returns:
        model, version, metric, its value, the hardest competitor, its value, ratio, 90 % interval; all text.
    """
    from ml.metrics import interval, number
    from serving.store import Store

    store = Store.open(settings.store_url)
    rows = []
    for model in MODELS:
        epoch = store.epoch(epoch_name(model))
        if epoch is not None:
            one = Headline(**epoch.detail)
            values = [number(value) for value in (one.champion, one.baseline, one.ratio)]
            competitor = one.baseline_name if one.baseline is not None else "none"
            span = interval(one.low, one.high)
            rows.append([model, epoch.value, one.metric, values[0], competitor, values[1], values[2], span])
    return rows


def failed_gates(settings: Settings) -> list[str]:
    """Return a line for each model whose latest training failed its gate: what failed, and when it is tried again."""
    from serving.store import Store

    with Store.open(settings.store_url) as store:
        judged = {model: store.epoch(verdict_name(model)) for model in MODELS}
    return [f"{model}: {_failure(epoch)}" for model, epoch in judged.items() if epoch and not epoch.detail["passed"]]
