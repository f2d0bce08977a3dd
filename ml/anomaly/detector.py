"""Suspicious days in the stock record: false movements, and demand unlike its own past.

The detector and its training belong here. What it looks at is in `ml.anomaly.features`, what it says of a day in
`ml.anomaly.reasons`, the errors it learns from and is measured with in `ml.anomaly.injection`, how well it finds them
in `ml.anomaly.evaluation`.

A row is one sku, location and day. What is said about a day uses that day and earlier ones, never later ones. Every
feature is free of scale: units are divided by the usual demand of the series or turned into a tail probability, so one
model serves a pin and a pallet.

Scores read the same for every kind: 0.2 for each factor of ten of rarity, so 0.6 is a row such as one in a thousand of
ordinary history. From 0.8, one in ten thousand, they near 1 without reaching it, and keep their order.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.anomaly.features import FEATURES, Facts, facts_in_chunks
from ml.anomaly.injection import INVISIBLE_KINDS, inject
from ml.anomaly.reasons import numbers, sentence
from ml.anomaly.series import KEYS, SeriesTable, day_number, key_index

KINDS = [
    "none",
    "record_error_sale",
    "record_error_receipt",
    "record_error_adjustment",
    "record_error_count",
    "count_correction",
    "negative_stock",
    "phantom_stock",
    "demand_spike",
    "demand_drop",
]
# These speak of the record; the others of demand.
_RECORD_EVIDENCE = ("count_correction", "negative_stock")
SCORE_PER_DECADE = 0.2
# Rows rarer than one in 1,000 of ordinary history are reported.
REPORT_FROM = 0.6

_DECADES = np.arange(0.0, 6.01, 0.1)
_LESSON_ROWS = 800_000
_LESSON_EVENTS = 120_000
_LESSON_SHARE = 0.06
# OpenMP threads wait for each other by spinning: on a busy machine of two cores two took eight times as long as one.
_THREADS = 1
_FORMAT = 1


@dataclass(frozen=True)
class Detector:
    """A trained detector. Build it with `train`, keep it with `save`, read it back with `load`.

    Attributes:
        booster: XGBoost model of record errors on `FEATURES`.
        rarity: for each evidence the values that a share 10**-d of ordinary rows reaches, d = 0, 0.1 ... 6.
        report_from: rows that score at least this get a kind and a reason.
    """

    booster: Any
    rarity: dict[str, np.ndarray]
    report_from: float = REPORT_FROM

    def score(self, series: pd.DataFrame, since: pd.Timestamp | None = None) -> pd.DataFrame:
        """Say how suspicious each day is.

        Args:
            series: one row per sku, location and day. Required: sku, location_id, day, opening_units, receipt_units,
                sales_units, other_units, closing_units. Optional, each of which sharpens the score:
                demand_units (sales less later cancellations); is_in_stock; is_open; unit_price (of the day);
                sale_unit_price (mean price charged); counted_change_units (counted less recorded, also part of
                other_units; NaN on a day without a count); max_line_units (largest single movement);
                repeated_line_units (largest quantity that two documents of the day share with type and price, 0 =
                none) and repeated_gap_minutes (between the two, NaN = none); expected_receipt_units (what was open on
                the sku's own purchase order lines that the day's receipts name, 0 = the order is for another sku).
            since: score this day and later ones; earlier rows are history. None scores every row.

        Returns:
            One row per row of `series` (from `since` on), same order and index: sku, location_id, day, anomaly_score
            in [0, 1], kind (one of `KINDS`), reason (a sentence; empty for kind none), record_error_score in [0, 1]
            (the part of the score that speaks of the record and not of demand).

        Raises:
            ValueError: when a column is missing, a number is not finite, or a key occurs twice.
        """
        table = SeriesTable.read(series)
        wanted = np.ones(table.rows, dtype=bool) if since is None else table.day >= day_number(since)
        record, total = np.zeros(table.rows, dtype=np.float32), np.zeros(table.rows, dtype=np.float32)
        kind = np.zeros(table.rows, dtype=np.int8)
        reason = np.full(table.rows, "", dtype=object)
        for facts in facts_in_chunks(table, wanted):
            scores = {
                name: self._rarity_score(name, evidence)
                for name, evidence in [("record_error", _suspicion(self.booster, facts)), *_evidence(facts).items()]
            }
            names = list(scores)
            stacked = np.stack(list(scores.values()))
            best = stacked.max(axis=0)
            total[facts.rows] = best
            record[facts.rows] = np.max([scores["record_error"], *(scores[name] for name in _RECORD_EVIDENCE)], axis=0)
            told = np.flatnonzero(best >= self.report_from)
            codes = np.array([KINDS.index(name) if name in KINDS else -1 for name in names])[stacked[:, told].argmax(0)]
            codes = np.where(codes < 0, _record_error_kinds(facts, told), codes)
            kind[facts.rows[told]] = codes
            reason[facts.rows[told]] = [
                sentence(KINDS[code], numbers(facts, entry))
                for entry, code in zip(told.tolist(), codes.tolist(), strict=True)
            ]
        chosen = wanted[table.position]
        position = table.position[chosen]
        result = series.loc[chosen, KEYS].copy()
        result["anomaly_score"] = total[position].astype(np.float64)
        result["kind"] = np.asarray(KINDS, dtype=object)[kind[position]]
        result["reason"] = reason[position]
        result["record_error_score"] = record[position].astype(np.float64)
        return result

    def save(self, folder: Path | str) -> None:
        """Write the detector as record_errors.ubj, rarity.npz and detector.json.

        Args:
            folder: is created; files of the same names are replaced.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.booster.save_model(target / "record_errors.ubj")
        np.savez(target / "rarity.npz", **self.rarity)  # type: ignore[arg-type]
        about = {"format": _FORMAT, "features": list(FEATURES), "report_from": self.report_from}
        (target / "detector.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> Detector:
        """Read a detector that `save` wrote.

        Args:
            folder: what was given to `save`.

        Raises:
            ValueError: when the folder was written for other features or by another format.
            FileNotFoundError: when a file is missing.
        """
        import xgboost

        source = Path(folder)
        about = json.loads((source / "detector.json").read_text(encoding="utf-8"))
        if about.get("format") != _FORMAT or about.get("features") != list(FEATURES):
            raise ValueError(
                f"the detector in {source} has format {about.get('format')} and {len(about.get('features', []))} "
                f"features, this code reads format {_FORMAT} and {len(FEATURES)} features: train it again"
            )
        if not (source / "record_errors.ubj").is_file():
            raise FileNotFoundError(
                f"{source / 'record_errors.ubj'} is missing: the detector is incomplete; train it again"
            )
        booster = xgboost.Booster({"nthread": _THREADS})
        booster.load_model(source / "record_errors.ubj")
        with np.load(source / "rarity.npz", allow_pickle=False) as stored:
            rarity = {name: stored[name] for name in stored.files}
        return cls(booster=booster, rarity=rarity, report_from=float(about["report_from"]))

    def _rarity_score(self, name: str, evidence: np.ndarray) -> np.ndarray:
        """Turn evidence into 0.2 for each factor of ten by which ordinary rows rarely reach it."""
        grid = self.rarity[name]
        decades = np.interp(evidence, grid, _DECADES)
        decades += np.maximum(evidence - grid[-1], 0.0) / (grid[-1] - grid[-11])
        beyond = 1.0 - SCORE_PER_DECADE * np.exp(-np.maximum(decades - 4.0, 0.0))
        return np.asarray(np.where(decades <= 4.0, SCORE_PER_DECADE * decades, beyond))


def train(series: pd.DataFrame, *, seed: int = 0) -> Detector:
    """Learn what ordinary days look like, and what record errors would do to them.

    Errors are injected (`inject`) in a seeded part of the series given, and a boosted model learns to find them again;
    no label from outside is used. What is already wrong in the series counts as ordinary, so it must be rare.

    Args:
        series: as `Detector.score` takes it.
        seed: fixes the series drawn, the errors injected and the model.

    Returns:
        A detector for any series with the same columns.

    Raises:
        ValueError: as `Detector.score`, and when the series hold no movement to inject an error into.
    """
    table = SeriesTable.read(series)
    drawn = _drawn_series(table, np.random.default_rng(seed))
    # A quarter of the series drawn is kept from the model: its scores there are those of ordinary rows it never saw.
    quiet, taught = drawn[: len(drawn) // 4], drawn[len(drawn) // 4 :]
    if not len(quiet):
        quiet = taught

    lessons = [table.frame_of(taught[part::2]) for part in range(min(2, len(taught)))]
    taught_on = [_lesson(lesson, seed * 1009 + part) for part, lesson in enumerate(lessons)]
    if len(lessons) == 2:
        # What is wrong already is labelled as ordinary and blurs the very errors to be found: a day that a model of the
        # other half of the series takes for an error is left out.
        blind = [_fitted(*taught_on[1 - part], seed) for part in range(2)]
        taught_on = [_without_doubtful(blind[part], *taught_on[part]) for part in range(2)]
    matrices, labels = zip(*taught_on, strict=True)
    booster = _fitted(np.concatenate(matrices), np.concatenate(labels), seed)

    ordinary = SeriesTable.read(table.frame_of(drawn))
    place_of_quiet = np.isin(np.sort(drawn), quiet)
    suspicions: list[np.ndarray] = []
    evidences: dict[str, list[np.ndarray]] = {}
    for facts in facts_in_chunks(ordinary, np.ones(ordinary.rows, dtype=bool)):
        suspicions.append(_suspicion(booster, facts)[place_of_quiet[ordinary.code[facts.rows]]])
        for name, evidence in _evidence(facts).items():
            evidences.setdefault(name, []).append(evidence)
    rarity = {name: _rarity_grid(np.concatenate(parts)) for name, parts in evidences.items()}
    rarity["record_error"] = _rarity_grid(np.concatenate(suspicions))
    return Detector(booster=booster, rarity=rarity)


def _drawn_series(table: SeriesTable, rng: np.random.Generator) -> np.ndarray:
    """Return series in random order, as many as a lesson holds rows and days with movements; two if there are two."""
    order = rng.permutation(len(table.starts))
    moved = (table.column("sales_units") != 0) | (table.column("receipt_units") != 0)
    rows = np.cumsum(table.lengths[order])
    events = np.cumsum(np.add.reduceat(moved.astype(np.int64), table.starts)[order])
    enough = int(np.searchsorted(np.maximum(rows / _LESSON_ROWS, events / _LESSON_EVENTS), 1.0)) + 1
    return np.asarray(order[: max(2, enough)])


def _fitted(matrix: np.ndarray, label: np.ndarray, seed: int) -> Any:
    """Return a boosted model of the label."""
    import xgboost

    return xgboost.train(
        {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_depth": 6,
            "eta": 0.1,
            "subsample": 0.8,
            "colsample_bytree": 0.6,
            "min_child_weight": 3,
            "lambda": 2.0,
            "max_bin": 128,
            "seed": seed,
            "nthread": _THREADS,
        },
        xgboost.DMatrix(matrix, label=label, feature_names=list(FEATURES), nthread=_THREADS),
        num_boost_round=140,
    )


def _without_doubtful(booster: Any, matrix: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a lesson without the days labelled ordinary that a model takes for errors."""
    keep = label | (np.asarray(booster.inplace_predict(matrix)) < 0.5)
    return matrix[keep], label[keep]


def _lesson(frame: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of days with events in series with injected errors; a small frame is injected again.

    Errors that leave nothing on the day itself would teach that ordinary days are wrong, and the counts that mend an
    error are neither ordinary nor the error: both are left out.
    """
    lessons = [_injected_lesson(frame, seed * 10)]
    while len(lessons) < 4 and sum(len(label) for _, label in lessons) < _LESSON_EVENTS // 8:
        lessons.append(_injected_lesson(frame, seed * 10 + len(lessons)))
    matrices, labels = zip(*lessons, strict=True)
    return np.concatenate(matrices), np.concatenate(labels)


def _injected_lesson(frame: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features and labels of one injection."""
    injected, truth = inject(frame, seed=seed, share=_LESSON_SHARE)
    visible = truth[~truth["kind"].isin(INVISIBLE_KINDS)]
    hidden = truth.loc[truth["kind"].isin(INVISIBLE_KINDS), KEYS]
    mended = truth.loc[truth["corrected_day"].notna(), ["sku", "location_id", "corrected_day"]]
    mended = mended.rename(columns={"corrected_day": "day"})
    is_error = _marked(injected, visible[KEYS])
    is_aside = (_marked(injected, hidden) | _marked(injected, mended)) & ~is_error
    table = SeriesTable.read(injected)
    matrices, labels = [], []
    for facts in facts_in_chunks(table, np.ones(table.rows, dtype=bool)):
        row = table.order[facts.rows[facts.events]]
        matrices.append(facts.features()[~is_aside[row]])
        labels.append(is_error[row][~is_aside[row]])
    return np.concatenate(matrices), np.concatenate(labels)


def _marked(frame: pd.DataFrame, keys: pd.DataFrame) -> np.ndarray:
    """Say of each row whether its key is among the keys."""
    found = np.zeros(len(frame), dtype=bool)
    candidates = np.flatnonzero(frame["sku"].isin(keys["sku"]).to_numpy())
    place = key_index(frame.iloc[candidates]).get_indexer(key_index(keys))
    found[candidates[place[place >= 0]]] = True
    return found


def _suspicion(booster: Any, facts: Facts) -> np.ndarray:
    """Return the log odds of a record error for each row.

    A day on which nothing happened can only lack something; such days stand below all others, the likelier a sale was
    the higher.
    """
    suspicion = -30.0 + facts.state["chance"].astype(np.float64)
    if len(facts.events):
        suspicion[facts.events] = booster.inplace_predict(facts.features(), predict_type="margin")
    return suspicion


def _evidence(facts: Facts) -> dict[str, np.ndarray]:
    """Return, by kind, how strongly a row speaks for it: 0 = not at all, comparable within a kind only."""
    detail, rows = facts.detail, len(facts.rows)
    evidence = {name: np.zeros(rows) for name in ("count_correction", "negative_stock", "demand_spike")}
    known = facts.state["history"][facts.events] >= 14
    evidence["count_correction"][facts.events] = np.abs(detail["correction_days"]) * detail["correction_share"]
    evidence["negative_stock"][facts.events] = detail["deeper_below_zero"]
    # A spike must be large for the size of this series' sales and for its demand on such a day.
    spike = np.minimum(detail["demand_tail"], 2.0 * np.maximum(detail["demand_z"], 0.0))
    evidence["demand_spike"][facts.events] = np.where(known, spike, 0.0)
    evidence["phantom_stock"] = facts.state["quiet_step"]
    evidence["demand_drop"] = facts.state["drop_step"]
    return evidence


def _record_error_kinds(facts: Facts, entries: np.ndarray) -> np.ndarray:
    """Return the kind code of entries whose record is doubted: the movement that weighs most in days of demand."""
    event = np.searchsorted(facts.events, entries)
    event = np.minimum(event, len(facts.events) - 1) if len(facts.events) else event
    names = ["sale_days", "receipt_days", "other_days", "correction_days"]
    weights = np.stack([np.abs(facts.detail[name][event]) for name in names])
    # Small next to the stock a slip of the hand in a count is a slip all the same.
    weights[3] += 100.0 * facts.detail["correction_slip"][event]
    kinds = ["record_error_sale", "record_error_receipt", "record_error_adjustment", "record_error_count"]
    codes: np.ndarray = np.array([KINDS.index(kind) for kind in kinds])[weights.argmax(axis=0)]
    return codes


def _rarity_grid(evidence: np.ndarray) -> np.ndarray:
    """Return the evidence reached by a share 10**-d of the rows, for each d of `_DECADES`; strictly increasing.

    Beyond the rarest row seen, each further decade needs as much more as the last one seen.
    """
    sorted_evidence = np.sort(evidence.astype(np.float64))[::-1]
    count = len(sorted_evidence)
    reach = int(np.searchsorted(_DECADES, np.log10(count) + 1e-9, side="right"))
    place = np.maximum(np.ceil(count * 10.0 ** -_DECADES[:reach]).astype(int) - 1, 0)
    seen = sorted_evidence[place]
    step = max(float(seen[-1] - seen[max(0, reach - 11)]) / 10.0, 1e-3)
    beyond = seen[-1] + step * np.arange(1, len(_DECADES) - reach + 1)
    grid = np.maximum.accumulate(np.concatenate([seen, beyond]))
    # Equal values are spread by a hair, upwards: a value that many rows share is no rarer than its commonest.
    return np.asarray(grid + 1e-9 * np.arange(len(grid)))
