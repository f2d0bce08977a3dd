"""Suspicious days in the stock record: false movements, and demand unlike its own past.

The detector, its features, planted errors to measure it with, and its baseline belong here. How well a score agrees
with a truth in general does not (`ml.classification_metrics`); which rows are stored or shown does not either.

A row is one sku, location and day. What is said about a day uses that day and earlier ones, never later ones. Every
feature is free of scale: units are divided by the usual demand of the series or turned into a tail probability, so one
model serves a pin and a pallet.

`anomaly_score` reads the same for every kind: 0.2 for each factor of ten of rarity. A score of 0.6 is a row such as one
in a thousand of ordinary history, 1.0 one in a hundred thousand.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ml.classification_metrics import detection_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

KEYS = ["sku", "location_id", "day"]
REQUIRED = ["opening_units", "receipt_units", "sales_units", "other_units", "closing_units"]
OPTIONAL = [
    "demand_units",
    "is_in_stock",
    "is_open",
    "unit_price",
    "counted_change_units",
    "max_line_units",
    "repeated_line_units",
    "expected_receipt_units",
]
KINDS = [
    "none",
    "record_error_sale",
    "record_error_receipt",
    "record_error_adjustment",
    "count_correction",
    "negative_stock",
    "phantom_stock",
    "demand_spike",
    "demand_drop",
]
SIZES = ["small", "medium", "large"]
# Units in error in days of mean demand: up to 3 small, up to 10 medium, above large.
SIZE_EDGES_DAYS = (3.0, 10.0)
SCORE_PER_DECADE = 0.2
# Rows rarer than one in 1,000 of ordinary history are reported.
REPORT_FROM = 0.6

_DECADES = np.arange(0.0, 6.01, 0.1)
_TRAIN_ROWS = 240_000
_CHUNK_CELLS = 500_000
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
                sales_units, other_units, closing_units. Optional: demand_units, is_in_stock, is_open, unit_price,
                counted_change_units (counted less recorded; NaN on a day without a count), max_line_units (largest
                single movement), repeated_line_units (largest quantity that two or more movements of one type share
                that day, 0 = none), expected_receipt_units (what was still open on the purchase order lines that were
                received that day). History before the days of interest sharpens the score: pass it along.
            since: score this day and later ones; earlier rows are context. None scores every row.

        Returns:
            One row per row of `series` (from `since` on), same order and index: sku, location_id, day, anomaly_score
            in [0, 1], kind (one of `KINDS`), reason (a sentence; empty for kind none), record_error_score in [0, 1]
            (the part of the score that speaks of the record and not of demand).

        Raises:
            ValueError: when a column is missing, a number is not finite, or a key occurs twice.
        """
        table = _Table.read(series)
        wanted = np.ones(table.rows, dtype=bool) if since is None else table.day >= _day_number(since)
        record = np.zeros(table.rows, dtype=np.float32)
        total = np.zeros(table.rows, dtype=np.float32)
        kind = np.zeros(table.rows, dtype=np.int8)
        reason = np.full(table.rows, "", dtype=object)
        for facts in _facts_in_chunks(table, wanted):
            if not len(facts.rows):
                continue
            margin = np.asarray(self.booster.inplace_predict(facts.features(), predict_type="margin"))
            scores = {"record_error": self._rarity_score("record_error", margin)}
            for name, evidence in facts.evidence().items():
                scores[name] = self._rarity_score(name, evidence)
            names = list(scores)
            stacked = np.stack([scores[name] for name in names])
            winner = stacked.argmax(axis=0)
            best = stacked.max(axis=0)
            record[facts.rows], total[facts.rows] = scores["record_error"], best
            told = np.flatnonzero(best >= self.report_from)
            codes = np.array([KINDS.index(name) if name in KINDS else -1 for name in names])[winner[told]]
            codes = np.where(codes < 0, facts.record_error_kinds(told), codes)
            kind[facts.rows[told]] = codes
            reason[facts.rows[told]] = facts.reasons(told, codes)
        position = table.position[wanted[table.position]]
        result = series.loc[wanted[table.position], KEYS].copy()
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
        booster = xgboost.Booster()
        booster.load_model(source / "record_errors.ubj")
        with np.load(source / "rarity.npz", allow_pickle=False) as stored:
            rarity = {name: stored[name] for name in stored.files}
        return cls(booster=booster, rarity=rarity, report_from=float(about["report_from"]))

    def _rarity_score(self, name: str, evidence: np.ndarray) -> np.ndarray:
        """Turn evidence into 0.2 for each factor of ten by which ordinary rows rarely reach it."""
        decades = np.interp(evidence, self.rarity[name], _DECADES)
        return np.asarray(np.clip(SCORE_PER_DECADE * decades, 0.0, 1.0))


def train(series: pd.DataFrame, *, seed: int = 0) -> Detector:
    """Learn what ordinary days look like, and what record errors would do to them.

    Errors are planted (`plant`) in a seeded part of the series given, and a boosted model learns to find them again; no
    label from outside is used. What is already wrong in the series counts as ordinary, so it must be rare.

    Args:
        series: as `Detector.score` takes it.
        seed: fixes the series drawn, the errors planted and the model.

    Returns:
        A detector for any series with the same columns.

    Raises:
        ValueError: as `Detector.score`, and when the series hold no movement to plant an error in.
    """
    import xgboost

    table = _Table.read(series)
    rng = np.random.default_rng(seed)
    lengths = np.diff(np.append(table.starts, table.rows))
    drawn = rng.permutation(len(lengths))
    drawn = drawn[: max(2, int(np.searchsorted(np.cumsum(lengths[drawn]), _TRAIN_ROWS)) + 1)]
    # A quarter of the series drawn is kept from the model: its scores there are those of ordinary rows it never saw.
    quiet = set(drawn[: max(1, len(drawn) // 4)].tolist()) if len(drawn) > 1 else set(drawn.tolist())
    taught = [code for code in drawn.tolist() if code not in quiet] or drawn.tolist()

    lesson = table.frame_of(np.sort(np.asarray(taught)), series)
    matrices, labels = [], []
    for repeat in range(1 if len(lesson) >= _TRAIN_ROWS // 8 else 4):
        planted, truth = plant(lesson, seed=seed * 1009 + repeat, share=0.02)
        lesson_table = _Table.read(planted)
        # The count that mends a planted error is neither ordinary nor the error itself: it teaches nothing.
        mended = truth.dropna(subset=["corrected_day"])[["sku", "location_id", "corrected_day"]]
        is_error = _rows_of(planted, truth[KEYS])
        is_mended = _rows_of(planted, mended.rename(columns={"corrected_day": "day"})) & ~is_error
        for facts in _facts_in_chunks(lesson_table, np.ones(lesson_table.rows, dtype=bool)):
            row = lesson_table.order[facts.rows]
            matrices.append(facts.features()[~is_mended[row]])
            labels.append(is_error[row][~is_mended[row]])
    label = np.concatenate(labels)
    booster = xgboost.train(
        {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "max_depth": 6,
            "eta": 0.12,
            "subsample": 0.8,
            "colsample_bytree": 0.6,
            "min_child_weight": 4,
            "lambda": 2.0,
            "max_bin": 128,
            "seed": seed,
        },
        xgboost.DMatrix(np.concatenate(matrices), label=label, feature_names=list(FEATURES)),
        num_boost_round=120,
    )

    ordinary = table.frame_of(np.sort(drawn), series)
    ordinary_table = _Table.read(ordinary)
    kept_keys = table.frame_of(np.sort(np.asarray(sorted(quiet))), series)[KEYS]
    is_quiet = _rows_of(ordinary, kept_keys)
    margins: list[np.ndarray] = []
    evidences: dict[str, list[np.ndarray]] = {}
    for facts in _facts_in_chunks(ordinary_table, np.ones(ordinary_table.rows, dtype=bool)):
        held_out = is_quiet[ordinary_table.order[facts.rows]]
        margins.append(np.asarray(booster.inplace_predict(facts.features()[held_out], predict_type="margin")))
        for name, evidence in facts.evidence().items():
            evidences.setdefault(name, []).append(evidence)
    rarity = {name: _rarity_grid(np.concatenate(parts)) for name, parts in evidences.items()}
    rarity["record_error"] = _rarity_grid(np.concatenate(margins))
    return Detector(booster=booster, rarity=rarity)


def plant(series: pd.DataFrame, *, seed: int, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put record errors into series, as they happen: lost, double-posted, mis-keyed, booked under another sku.

    What was physically there does not change; the record does, from the error's day until the next count, which finds
    the difference (without counted_change_units no count is known and the error stays). Kinds and sizes are drawn in
    equal parts as far as the series offer movements of the size.

    Args:
        series: as `Detector.score` takes it; unchanged.
        seed: the same seed plants the same errors.
        share: errors per row with a sale or receipt, in (0, 0.5].

    Returns:
        The series with errors, same rows, order and columns; and the errors: sku, location_id, day, kind (lost_sale,
        double_posted_sale, mis_keyed_sale, swapped_sale, lost_receipt, double_posted_receipt, mis_keyed_receipt,
        swapped_receipt), error_units (change of recorded stock, signed), error_days (absolute, in days of mean demand),
        size (small, medium, large), corrected_day (day of the count that mends it, or NaT). A swap is two rows, one
        per sku.

    Raises:
        ValueError: as `Detector.score`; when share is out of range; when there is no movement at all.
    """
    if not 0 < share <= 0.5:
        raise ValueError(
            f"share {share} is not in (0, 0.5]: it is the part of the rows with a movement that gets an error"
        )
    table = _Table.read(series)
    rng = np.random.default_rng(seed)
    sales, receipts = np.maximum(table.sales, 0.0), np.maximum(table.receipt, 0.0)
    lengths = np.diff(np.append(table.starts, table.rows))
    mean = np.add.reduceat(np.maximum(table.demand, 0.0), table.starts) / lengths
    mean_units = np.maximum(mean, 1.0 / lengths)[table.code]
    line = np.where(np.isfinite(table.max_line) & (table.max_line > 0), np.minimum(table.max_line, sales), sales)
    line = np.where(line > 0, line, sales)
    partner = _partner_rows(table, rng)

    offers: list[tuple[str, np.ndarray, np.ndarray]] = []
    for name, units in (("sale", line), ("receipt", receipts)):
        there = np.flatnonzero(units > 0)
        other = partner[there]
        slip = _mis_keyed(units[there], rng)
        offers.append((f"lost_{name}", there, units[there]))
        offers.append((f"double_posted_{name}", there, units[there]))
        offers.append((f"mis_keyed_{name}", there[slip != units[there]], (slip - units[there])[slip != units[there]]))
        offers.append((f"swapped_{name}", there[other >= 0], units[there][other >= 0]))
    moving = int(((sales > 0) | (receipts > 0)).sum())
    if not moving:
        raise ValueError("no row has a sale or a receipt: there is no movement that could be recorded wrongly")
    cells = [
        (kind, size, rows[grade == place], units[grade == place])
        for kind, rows, units in offers
        for grade in [_size_grade(np.abs(units) / mean_units[rows])]
        for place, size in enumerate(SIZES)
    ]
    each = max(1, round(share * moving / len(cells)))

    change_sales, change_receipts = np.zeros(table.rows), np.zeros(table.rows)
    new_line, repeated = table.max_line.copy(), table.repeated.copy()
    taken = np.zeros(table.rows, dtype=bool)
    truth: list[tuple[int, str, float, float]] = []
    for kind, _, rows, units in cells:
        planted = 0
        for place in rng.permutation(len(rows))[: 3 * each]:
            row, error = int(rows[place]), float(units[place])
            touched = [row, int(partner[row])] if kind.startswith("swapped") else [row]
            if taken[touched].any():
                continue
            taken[touched] = True
            change = change_sales if kind.endswith("sale") else change_receipts
            direction = -1.0 if kind.endswith("sale") else 1.0
            if kind.startswith("lost"):
                change[row] -= error
                truth.append((row, kind, -direction * error, error))
                if kind == "lost_sale":
                    new_line[row] = min(new_line[row], max(sales[row] - error, receipts[row], 0.0))
            elif kind.startswith("swapped"):
                other_row = touched[1]
                change[row] -= error
                change[other_row] += error
                new_line[row] = min(
                    new_line[row], max(sales[row] + change_sales[row], receipts[row] + change_receipts[row])
                )
                new_line[other_row] = np.fmax(new_line[other_row], error)
                truth.append((row, kind, -direction * error, error))
                truth.append((other_row, kind, direction * error, error))
            else:
                change[row] += error
                truth.append((row, kind, direction * error, abs(error)))
                if kind.startswith("double"):
                    repeated[row] = np.fmax(repeated[row], error)
                else:
                    before = line[row] if kind.endswith("sale") else receipts[row]
                    new_line[row] = max(new_line[row], before + error) if error > 0 else new_line[row]
            planted += 1
            if planted == each:
                break
    return _with_errors(series, table, change_sales, change_receipts, new_line, repeated, truth, mean_units)


def robust_z_baseline(series: pd.DataFrame) -> pd.DataFrame:
    """Score each day by the largest robust z of its movements, the usual rule of thumb.

    For sales, receipts and other movements: |log(1 + units) − median| / (1.4826 · MAD) over the days on which the
    series has such a movement (Iglewicz and Hoaglin 1993); unlike the detector it sees later days too.

    Args:
        series: as `Detector.score` takes it.

    Returns:
        sku, location_id, day, anomaly_score (the z, 0 and above, no upper bound); rows and index as given.

    Raises:
        ValueError: as `Detector.score`.
    """
    table = _Table.read(series)
    worst = np.zeros(table.rows)
    for units in (table.sales, table.receipt, np.abs(table.other)):
        size = pd.Series(np.where(units > 0, np.log1p(np.maximum(units, 0.0)), np.nan))
        median = size.groupby(table.code).transform("median")
        spread = (size - median).abs().groupby(table.code).transform("median")
        # Half the days alike gives a spread of 0: a tenth of log scale keeps the ratio finite.
        worst = np.fmax(worst, ((size - median).abs() / np.maximum(1.4826 * spread, 0.1)).to_numpy())
    result = series[KEYS].copy()
    result["anomaly_score"] = worst[table.position]
    return result


def evaluate(
    scores: dict[str, pd.DataFrame], labels: pd.DataFrame, *, report_share: float | None = None
) -> pd.DataFrame:
    """Measure detectors on known errors, by kind and size.

    Every detector reports the same number of rows, its highest scores, so that precision and recall compare. The rows
    of one kind and size are held against all rows without any error; rows of other errors stand aside, and so do the
    days of counts that mend an error (`corrected_day`): they are not false alarms.

    Args:
        scores: name of the detector to a frame with sku, location_id, day and anomaly_score (record_error_score is used
            where there is one); the same rows in every frame.
        labels: sku, location_id, day, kind, size; optional corrected_day.
        report_share: share of the rows each detector reports; by default as many rows as there are labelled ones.

    Returns:
        One row per detector, kind and size, with "all" for totals: detector, kind, size, positives, precision, recall,
        f1, auc_roc, auc_pr, found_at_count (share of the errors whose count was reported, NaN without counts).

    Raises:
        ValueError: when a labelled row is in no frame.
    """
    rows = []
    for name, frame in scores.items():
        column = "record_error_score" if "record_error_score" in frame.columns else "anomaly_score"
        score = frame[column].to_numpy(dtype=np.float64)
        overall = frame["anomaly_score"].to_numpy(dtype=np.float64)
        place = _positions(frame, labels[KEYS])
        if (place < 0).any():
            missing = labels.loc[place < 0, KEYS].iloc[0].to_dict()
            raise ValueError(
                f"the error labelled at {missing} is not among the rows scored by {name}: score the same series"
            )
        counts = np.full(len(labels), -1)
        if "corrected_day" in labels.columns:
            known = labels["corrected_day"].notna().to_numpy()
            at_count = labels.loc[known, ["sku", "location_id", "corrected_day"]]
            counts[known] = _positions(frame, at_count.rename(columns={"corrected_day": "day"}))
        clean = np.ones(len(frame), dtype=bool)
        clean[place] = False
        clean[counts[counts >= 0]] = False
        reported = round(report_share * len(frame)) if report_share is not None else len(np.unique(place))
        threshold = float(np.sort(score)[-max(1, reported)])
        count_threshold = float(np.sort(overall)[-max(1, reported)])
        for kind in ["all", *sorted(labels["kind"].unique())]:
            for size in ["all", *SIZES]:
                own = np.ones(len(labels), dtype=bool)
                own &= (labels["kind"] == kind).to_numpy() if kind != "all" else True
                own &= (labels["size"] == size).to_numpy() if size != "all" else True
                if not own.any():
                    continue
                positive = np.zeros(len(frame), dtype=bool)
                positive[place[own]] = True
                judged = clean | positive
                measures = detection_metrics(positive[judged], score[judged], threshold)
                counted = counts[own][counts[own] >= 0]
                found = float((overall[counted] >= count_threshold).mean()) if len(counted) else float("nan")
                rows.append({"detector": name, "kind": kind, "size": size, **measures, "found_at_count": found})
    table = pd.DataFrame(rows)
    table["positives"] = table["positives"].astype(int)
    return table.drop(columns=["rows", "reported"])


def top_anomalies_figure(series: pd.DataFrame, scored: pd.DataFrame, count: int = 6, days: int = 60) -> Figure:
    """Draw sales and closing stock around the most suspicious days.

    Args:
        series: as `Detector.score` takes it.
        scored: what `Detector.score` returned for it.
        count: panels, one per series, most suspicious first.
        days: days drawn on either side.

    Returns:
        A matplotlib figure that belongs to no global state.
    """
    from matplotlib.figure import Figure

    told = scored[scored["kind"] != "none"].sort_values("anomaly_score", ascending=False, kind="stable")
    told = told.drop_duplicates(["sku", "location_id"]).head(count)
    figure = Figure(figsize=(11.0, 2.4 * max(1, (len(told) + 1) // 2)), layout="constrained")
    if told.empty:
        figure.suptitle("No day is reported")
        return figure
    panels = figure.subplots((len(told) + 1) // 2, 2, squeeze=False).ravel()
    for axes in panels[len(told) :]:
        axes.set_visible(False)
    for axes, row in zip(panels, told.itertuples(), strict=False):
        own = series[(series["sku"] == row.sku) & (series["location_id"] == row.location_id)]
        own = own.assign(day=pd.to_datetime(own["day"])).sort_values("day")
        moment = pd.Timestamp(str(row.day))
        own = own[(own["day"] - moment).abs() <= pd.Timedelta(days=days)]
        axes.step(own["day"], own["closing_units"].astype(float), where="post", color="tab:blue", label="closing stock")
        axes.bar(own["day"], own["sales_units"].astype(float), color="tab:orange", width=1.0, label="sales")
        axes.axvline(moment, color="tab:red", linewidth=1, linestyle="--")
        axes.set_title(
            f"{row.sku} at {row.location_id}, {moment:%Y-%m-%d}: {row.kind} ({row.anomaly_score:.2f})", fontsize=8
        )
        axes.set_ylabel("units", fontsize=7)
        axes.tick_params(labelsize=6)
    panels[0].legend(fontsize=6)
    return figure


@dataclass(frozen=True)
class _Table:
    """The columns of a series frame as arrays, sorted by series and day.

    Attributes:
        order: row of the frame for each sorted row; position: sorted row for each row of the frame.
        code: series of each sorted row, 0, 1, ...; starts: first sorted row of each series.
        place: location of each series; day: days since 1970-01-01.
    """

    order: np.ndarray
    position: np.ndarray
    code: np.ndarray
    starts: np.ndarray
    place: np.ndarray
    day: np.ndarray
    opening: np.ndarray
    receipt: np.ndarray
    sales: np.ndarray
    other: np.ndarray
    closing: np.ndarray
    demand: np.ndarray
    in_stock: np.ndarray
    is_open: np.ndarray
    price: np.ndarray
    counted: np.ndarray
    max_line: np.ndarray
    repeated: np.ndarray
    expected_receipt: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.order)

    @classmethod
    def read(cls, series: pd.DataFrame) -> _Table:
        """Check and sort a frame."""
        missing = [name for name in [*KEYS, *REQUIRED] if name not in series.columns]
        if missing:
            raise ValueError(f"series has no column {', '.join(missing)}: it needs {', '.join([*KEYS, *REQUIRED])}")
        if series.empty:
            raise ValueError("series has no rows: pass at least one sku, location and day")
        if series[KEYS].isna().to_numpy().any():
            row = int(np.flatnonzero(series[KEYS].isna().any(axis=1))[0])
            raise ValueError(
                f"row {row} has no sku, location_id or day ({series[KEYS].iloc[row].tolist()}): fill the key"
            )
        sku, _ = pd.factorize(series["sku"], sort=True)
        location, locations = pd.factorize(series["location_id"], sort=True)
        day = _day_numbers(series["day"])
        pair = sku.astype(np.int64) * len(locations) + location
        order = np.lexsort((day, pair))
        pair, day = pair[order], day[order]
        first = np.append(True, pair[1:] != pair[:-1])
        double = np.flatnonzero(~first[1:] & (day[1:] == day[:-1]))
        if len(double):
            key = series[KEYS].iloc[int(order[double[0] + 1])].tolist()
            raise ValueError(f"two rows for {key}: one row per sku, location and day is needed, add them up first")

        def column(name: str, absent: float) -> np.ndarray:
            if name not in series.columns:
                return np.full(len(order), absent)
            values = series[name].to_numpy(dtype=np.float64, na_value=np.nan)[order]
            broken = np.isinf(values) | (np.isnan(values) if name in REQUIRED else False)
            if broken.any():
                row = int(order[np.flatnonzero(broken)[0]])
                raise ValueError(
                    f"{name} is {series[name].iloc[row]} for {series[KEYS].iloc[row].tolist()} (row {row}): "
                    "give a finite number"
                )
            return values

        opening, receipt, sales, other, closing = (column(name, np.nan) for name in REQUIRED)
        demand = column("demand_units", np.nan)
        in_stock = column("is_in_stock", np.nan)
        is_open = column("is_open", 1.0)
        position = np.empty(len(order), dtype=np.int64)
        position[order] = np.arange(len(order))
        starts = np.flatnonzero(first)
        return cls(
            order=order,
            position=position,
            code=(np.cumsum(first) - 1).astype(np.int64),
            starts=starts,
            place=location[order][starts],
            day=day,
            opening=opening,
            receipt=receipt,
            sales=sales,
            other=other,
            closing=closing,
            demand=np.where(np.isfinite(demand), demand, np.maximum(sales, 0.0)),
            in_stock=np.where(np.isfinite(in_stock), in_stock > 0, opening + receipt > 0).astype(bool),
            is_open=~(is_open == 0),
            price=column("unit_price", np.nan),
            counted=column("counted_change_units", np.nan),
            max_line=column("max_line_units", np.nan),
            repeated=column("repeated_line_units", np.nan),
            expected_receipt=column("expected_receipt_units", np.nan),
        )

    def frame_of(self, codes: np.ndarray, series: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of some series, in their sorted order."""
        return series.iloc[self.order[np.isin(self.code, codes)]].reset_index(drop=True)


def _day_numbers(days: pd.Series) -> np.ndarray:
    """Return days since 1970-01-01; dates, timestamps and ISO text are understood."""
    return pd.to_datetime(days).to_numpy().astype("datetime64[D]").astype(np.int64)


def _day_number(day: pd.Timestamp) -> int:
    """Return days since 1970-01-01."""
    return int(np.datetime64(pd.Timestamp(day), "D").astype(np.int64))


def _key_index(frame: pd.DataFrame) -> pd.MultiIndex:
    """Return sku, location_id and day as one index, days comparable whatever their type."""
    return pd.MultiIndex.from_arrays([frame["sku"], frame["location_id"], _day_numbers(frame["day"])])


def _positions(frame: pd.DataFrame, keys: pd.DataFrame) -> np.ndarray:
    """Return the row of `frame` that has each key, -1 where none has."""
    return np.asarray(_key_index(frame).get_indexer(_key_index(keys)))


def _rows_of(frame: pd.DataFrame, keys: pd.DataFrame) -> np.ndarray:
    """Say of each row of `frame` whether its key is among the keys."""
    found = np.zeros(len(frame), dtype=bool)
    place = _positions(frame, keys)
    found[place[place >= 0]] = True
    return found


# What the model sees, in the order of its columns. Units are in days of mean demand unless said otherwise.
FEATURES = (
    "history_days",  # log of days of demand history
    "selling_share",  # usual share of days with a sale
    "size_spread",  # usual spread of the log size of a sale
    "dispersion",  # variance of demand over that of a geometric count of the same mean
    "trend",  # log of the last week's rate over the last quarter's
    "activity",  # log of the share of the location's series that sold, over its usual
    "sale_days",
    "sale_z",  # log size against usual sizes, in spreads
    "sale_tail",  # decades of the negative binomial tail
    "sale_of_available",  # sale over what the record had to sell
    "sale_over_available",
    "sale_line_share",  # largest movement over the sale
    "line_z",
    "line_is_round",  # 1 = a multiple of ten, 2 = of a hundred
    "tenth_of_line_z",  # how ordinary a tenth of the largest movement is
    "returned_days",  # sales below zero
    "repeat_days",
    "repeat_share",  # repeated movement, both times, over all of the day's
    "receipt_days",
    "receipt_z",
    "receipt_to_last",  # log ratio to the receipt before
    "receipt_gap",  # log days since the receipt before
    "receipt_off_pack",  # remainder against the greatest common divisor of earlier receipts, 0 to 1
    "receipt_to_expected",  # log ratio to what the purchase order lines had open
    "receipt_repeat",  # the receipt is the same movement twice
    "cover_before_receipt",  # stock before a receipt
    "other_days",
    "correction_days",
    "correction_share",  # of the larger of recorded and counted stock
    "correction_is_a_movement",  # equals a movement since the count before
    "days_since_count",
    "opening_days",
    "closing_days",
    "closing_to_peak",  # log of closing over the highest closing before
    "deeper_below_zero",  # how much further below zero than the day before
    "negative_run",  # log of days below zero
    "quiet_decades",  # decades of the probability of no sale for so long with stock on record
    "price_change",  # log of the price over its usual
)


@dataclass(frozen=True)
class _Facts:
    """What is known of some rows: features by name, and the numbers the sentences need.

    Attributes:
        rows: sorted row of the table for each entry.
        known: arrays of one length, by name.
    """

    rows: np.ndarray
    known: dict[str, np.ndarray]

    def features(self) -> np.ndarray:
        """Return the model's matrix, float32 [rows, features]; NaN where a column is not given."""
        return np.stack([self.known[name] for name in FEATURES], axis=1).astype(np.float32, copy=False)

    def evidence(self) -> dict[str, np.ndarray]:
        """Return, by kind, how strongly a row speaks for it: 0 = not at all, comparable within a kind only."""
        known = self.known
        out_of_step = np.minimum(known["demand_tail"], np.maximum(known["demand_z"], 0.0) * 2.0)
        return {
            "count_correction": np.abs(known["correction_days"]) * (0.2 + np.minimum(known["correction_share"], 1.0)),
            "negative_stock": known["deeper_below_zero"],
            "phantom_stock": known["quiet_step"],
            "demand_spike": np.where(known["history"] >= 7, out_of_step, 0.0),
            "demand_drop": known["drop_step"],
        }

    def record_error_kinds(self, entries: np.ndarray) -> np.ndarray:
        """Return the kind code of entries whose record is doubted: the movement that weighs most in days of demand."""
        known = {
            name: np.nan_to_num(np.abs(self.known[name][entries]))
            for name in ("sale_days", "receipt_days", "other_days")
        }
        correction = np.abs(self.known["correction_days"][entries])
        stacked = np.stack([known["sale_days"], known["receipt_days"], known["other_days"], correction])
        names = ["record_error_sale", "record_error_receipt", "record_error_adjustment", "count_correction"]
        codes: np.ndarray = np.asarray([KINDS.index(name) for name in names])[stacked.argmax(axis=0)]
        return codes

    def reasons(self, entries: np.ndarray, codes: np.ndarray) -> list[str]:
        """Return one sentence per entry for the kind given by its code."""
        return [
            _sentence(KINDS[code], {name: float(values[entry]) for name, values in self.known.items()})
            for entry, code in zip(entries.tolist(), codes.tolist(), strict=True)
        ]


def _sentence(kind: str, fact: dict[str, float]) -> str:
    """Say in words and numbers why a day is reported as this kind."""
    usual = f"{_units(fact['usual_low'])} to {_units(fact['usual_high'])} a selling day"
    if kind == "record_error_sale":
        if fact["sales"] > fact["available"] >= 0:
            return (
                f"Sales of {_units(fact['sales'])} are on record where only {_units(fact['available'])} were in stock; "
                f"usual are {usual}."
            )
        if np.isfinite(fact["repeated"]) and fact["repeated"] > 0:
            return (
                f"{_units(fact['repeated'])} units are on record more than once in sales of {_units(fact['sales'])}; "
                f"usual are {usual}."
            )
        return f"Sales of {_units(fact['sales'])} are on record; usual are {usual}."
    if kind == "record_error_receipt":
        said = f"A receipt of {_units(fact['receipt'])} is on record"
        if np.isfinite(fact["expected_receipt"]) and fact["expected_receipt"] != fact["receipt"]:
            return f"{said} where the purchase order had {_units(fact['expected_receipt'])} open."
        if fact["last_receipt"] > 0:
            return (
                f"{said}; the one before was {_units(fact['last_receipt'])}, {_units(fact['opening'])} were in stock."
            )
        return f"{said} for a mean demand of {_units(fact['mean'])} a day; {_units(fact['opening'])} were in stock."
    if kind == "record_error_adjustment":
        return f"Other movements of {_units(fact['other'])} are on record, mean demand is {_units(fact['mean'])} a day."
    if kind == "count_correction":
        found = f"A count left {_units(fact['closing'])} in stock"
        difference = (
            f"{found}, {_units(abs(fact['correction']))} {'more' if fact['correction'] > 0 else 'fewer'} than recorded"
        )
        if fact["correction_is_a_movement"] > 0:
            return f"{difference}: exactly a movement on record {fact['matched_days_ago']:.0f} days before."
        return f"{difference}, {abs(fact['correction']) / fact['mean']:.0f} days of mean demand."
    if kind == "negative_stock":
        return (
            f"Recorded stock fell from {_units(fact['opening'])} to {_units(fact['closing'])}: more left than was ever "
            "booked in."
        )
    if kind == "phantom_stock":
        return (
            f"No sale for {fact['quiet_days']:.0f} open days with {_units(fact['closing'])} in stock on record, where "
            f"{fact['selling_share'] * 100:.0f} % of days sell: the stock may not be there."
        )
    if kind == "demand_spike":
        return (
            f"Demand of {_units(fact['demand'])} where usual are {usual} and {_units(fact['mean'])} a day on average."
        )
    return (
        f"Demand of the last week runs at {_units(fact['fast'])} a day against {_units(fact['mean'])} before, "
        "with stock on record."
    )


def _units(value: float) -> str:
    """Write units as a planner would: no needless decimals."""
    if not np.isfinite(value):
        return "an unknown number"
    return f"{value:,.0f}" if abs(value) >= 10 or value == round(value) else f"{value:,.1f}"


def _facts_in_chunks(table: _Table, wanted: np.ndarray) -> Iterator[_Facts]:
    """Yield the facts of the wanted rows, some series at a time so that memory stays bounded."""
    activity = _location_activity(table)
    first_day, span = int(table.day.min()), int(table.day.max() - table.day.min() + 1)
    width = max(1, _CHUNK_CELLS // span)
    for low in range(0, len(table.starts), width):
        high = min(low + width, len(table.starts))
        rows = np.arange(table.starts[low], table.starts[high] if high < len(table.starts) else table.rows)
        if wanted[rows].any():
            yield _facts(table, rows, low, high - low, first_day, span, activity, wanted)


def _location_activity(table: _Table) -> np.ndarray:
    """Return, per location and day, the log of the share of series that sold over the location's usual share.

    A holiday or a sale moves every series of a location; what all of them do is not an anomaly of one.
    """
    first, days = int(table.day.min()), int(table.day.max() - table.day.min() + 1)
    cell = table.place[table.code] * days + (table.day - first)
    size = (int(table.place.max()) + 1) * days
    able = (table.in_stock & table.is_open) | (table.sales > 0)
    there = np.bincount(cell, weights=able, minlength=size).reshape(-1, days)
    sold = np.bincount(cell, weights=table.sales > 0, minlength=size).reshape(-1, days)
    usual_sold, usual_there = np.zeros(len(there)), np.zeros(len(there))
    log_ratio = np.zeros_like(there)
    for day in range(days):
        share = (usual_sold + 1.0) / (usual_there + 4.0)
        expected = share * there[:, day]
        # Ten pseudo-series hold the ratio near one where a location has few.
        log_ratio[:, day] = np.log((sold[:, day] + 10.0 * share + 0.1) / (expected + 10.0 * share + 0.1))
        moved = there[:, day] > 0
        usual_sold = np.where(moved, 0.97 * usual_sold + sold[:, day], usual_sold)
        usual_there = np.where(moved, 0.97 * usual_there + there[:, day], usual_there)
    return np.asarray(np.clip(log_ratio, -3.0, 3.0))


def _signed_log(units: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return units in days of mean demand on a signed log scale."""
    return np.asarray(np.sign(units) * np.log1p(np.abs(units) / mean))


def _facts(
    table: _Table,
    rows: np.ndarray,
    low: int,
    width: int,
    first_day: int,
    span: int,
    activity: np.ndarray,
    wanted: np.ndarray,
) -> _Facts:
    """Work out the facts of a run of series: a [days, series] grid, walked once day by day."""
    from scipy.special import betainc

    cell = (table.day[rows] - first_day) * width + (table.code[rows] - low)

    def grid(values: np.ndarray, absent: float = 0.0) -> np.ndarray:
        flat = np.full(span * width, absent)
        flat[cell] = values[rows]
        return flat.reshape(span, width)

    present = grid(np.ones(table.rows)) > 0
    sales, demand = grid(table.sales), grid(table.demand)
    receipt, closing = grid(table.receipt), grid(table.closing)
    in_stock, is_open = grid(table.in_stock) > 0, grid(table.is_open) > 0
    counted, price = grid(table.counted, np.nan), grid(table.price, np.nan)
    day_factor = np.exp(activity[table.place[low : low + width]].T)

    walked = _walk(present, sales, demand, receipt, closing, in_stock, is_open, counted, price, day_factor)
    here = wanted[rows]
    chosen = cell[here]
    rows = rows[here]
    state = {name: values.reshape(-1)[chosen].astype(np.float64) for name, values in walked.items()}
    sale, got, left, had = table.sales[rows], table.receipt[rows], table.closing[rows], table.opening[rows]
    want, correction = table.demand[rows], np.nan_to_num(table.counted[rows])
    other = table.other[rows] - correction
    factor = np.exp(activity[table.place[table.code[rows]], table.day[rows] - first_day])
    mean = state["mean"]
    spread, size = state["size_spread"], state["size_log"]
    sold = sale > 0
    # Without lines the day's sum stands in for its largest movement.
    line = np.where(
        np.isfinite(table.max_line[rows]), table.max_line[rows], np.maximum(np.maximum(sale, got), np.abs(other))
    )
    repeated = table.repeated[rows]

    def z_of(units: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((np.log(np.maximum(units, 1e-3)) - size) / spread, -12.0, 12.0))

    def tail_of(units: np.ndarray) -> np.ndarray:
        expected = np.maximum(mean * factor, 1e-6)
        successes = np.clip(1.0 / np.maximum(state["dispersion"] - 1.0, 1e-3), 0.02, 1e3)
        decades = np.zeros(len(units))
        above = units > expected
        tail = betainc(units[above], successes[above], (expected / (expected + successes))[above])
        decades[above] = np.minimum(-np.log10(np.maximum(tail, 1e-30)), 30.0)
        return decades

    available = had + got + np.maximum(other, 0.0)
    matched_days_ago = _matching_movement(table, rows, correction)
    receiving = got > 0
    expected_receipt = table.expected_receipt[rows]
    nothing = np.zeros(len(rows))
    pack = state["pack"]
    off_pack = np.where(receiving & (pack > 1), np.mod(got, np.maximum(pack, 1.0)) / np.maximum(pack, 1.0), nothing)
    is_round = np.where(line >= 100, np.mod(line, 100) == 0, False).astype(float) + (
        np.where(line >= 10, np.mod(line, 10) == 0, False)
    )
    sale_line = np.minimum(line, np.maximum(sale, 0.0))
    known = {
        "history_days": np.log1p(state["history"]),
        "selling_share": state["selling_share"],
        "size_spread": spread,
        "dispersion": state["dispersion"],
        "trend": np.log((state["fast"] + 0.1 * mean) / (1.1 * mean)),
        "activity": np.log(factor),
        "sale_days": _signed_log(np.maximum(sale, 0.0), mean),
        "sale_z": np.where(sold, z_of(sale), nothing),
        "sale_tail": tail_of(np.maximum(sale, 0.0)),
        "sale_of_available": np.where(sold, np.clip(sale / np.maximum(available, 1e-3), 0.0, 5.0), nothing),
        "sale_over_available": np.where(sold, _signed_log(sale - available, mean), nothing),
        "sale_line_share": np.where(sold, sale_line / np.maximum(sale, 1e-9), nothing),
        "line_z": np.where(sold, z_of(sale_line), nothing),
        "line_is_round": is_round,
        "tenth_of_line_z": np.where(sold & (is_round > 0), np.abs(z_of(sale_line / 10.0)), np.nan),
        "returned_days": _signed_log(np.minimum(sale, 0.0), mean),
        "repeat_days": _signed_log(repeated, mean),
        "repeat_share": 2.0 * repeated / np.maximum(np.abs(sale) + got + np.abs(other), 1e-9),
        "receipt_days": np.where(receiving, _signed_log(got, mean), nothing),
        "receipt_z": np.where(
            receiving,
            np.clip((np.log(np.maximum(got, 1e-3)) - state["receipt_log"]) / state["receipt_spread"], -12, 12),
            nothing,
        ),
        "receipt_to_last": np.where(
            receiving & (state["last_receipt"] > 0),
            np.log(np.maximum(got, 1e-3) / np.maximum(state["last_receipt"], 1e-3)),
            np.nan,
        ),
        "receipt_gap": np.where(receiving, np.log1p(state["receipt_age"]), np.nan),
        "receipt_off_pack": off_pack,
        "receipt_to_expected": np.where(
            receiving & (expected_receipt > 0),
            np.log(np.maximum(got, 1e-3) / np.where(expected_receipt > 0, expected_receipt, 1.0)),
            np.nan,
        ),
        "receipt_repeat": np.where(receiving & np.isfinite(repeated), (2.0 * repeated == got).astype(float), nothing),
        "cover_before_receipt": np.where(receiving, _signed_log(had, mean), np.nan),
        "other_days": _signed_log(other, mean),
        "correction_days": _signed_log(correction, mean),
        "correction_share": np.abs(correction) / np.maximum(np.maximum(np.abs(left), np.abs(left - correction)), 1e-9),
        "correction_is_a_movement": np.isfinite(matched_days_ago).astype(float),
        "days_since_count": np.log1p(state["count_age"]),
        "opening_days": _signed_log(had, mean),
        "closing_days": _signed_log(left, mean),
        "closing_to_peak": np.clip(np.log((np.maximum(left, 0.0) + mean) / (state["peak"] + mean)), -6.0, 6.0),
        "deeper_below_zero": np.log1p(np.maximum(np.minimum(had, 0.0) - np.minimum(left, 0.0), 0.0) / mean),
        "negative_run": np.log1p(state["negative_run"]),
        "quiet_decades": state["quiet"],
        "price_change": state["price_change"],
        # Not features: what evidence and sentences need.
        "history": state["history"],
        "mean": mean,
        "fast": state["fast"],
        "demand": want,
        "demand_z": np.where(want > 0, z_of(want), nothing),
        "demand_tail": tail_of(want),
        "quiet_step": state["quiet_step"],
        "quiet_days": state["quiet_days"],
        "drop_step": state["drop_step"],
        "sales": sale,
        "receipt": got,
        "other": other,
        "opening": had,
        "closing": left,
        "correction": correction,
        "available": available,
        "repeated": repeated,
        "expected_receipt": expected_receipt,
        "last_receipt": state["last_receipt"],
        "matched_days_ago": matched_days_ago,
        "usual_low": np.exp(size - spread),
        "usual_high": np.exp(size + spread),
    }
    return _Facts(rows=rows, known=known)


# What `_walk` remembers of a series.
_MEMORY = (
    "history",
    "mean",
    "fast",
    "selling_share",
    "size_log",
    "size_spread",
    "dispersion",
    "receipt_log",
    "receipt_spread",
    "last_receipt",
    "receipt_age",
    "pack",
    "peak",
    "count_age",
    "negative_run",
    "quiet",
    "quiet_step",
    "quiet_days",
    "drop_step",
    "price_change",
)


def _walk(
    present: np.ndarray,
    sales: np.ndarray,
    demand: np.ndarray,
    receipt: np.ndarray,
    closing: np.ndarray,
    in_stock: np.ndarray,
    is_open: np.ndarray,
    counted: np.ndarray,
    price: np.ndarray,
    day_factor: np.ndarray,
) -> dict[str, np.ndarray]:
    """Carry the memory of each series from day to day; all arrays are [days, series].

    Means forget: the weight of a day halves in about 60 days (7 for `fast`), and is 1/n while history is short. Values
    enter a memory clipped, so one false movement does not become the usual.

    Returns:
        float32 [days, series] by name, each as known before the day's own movements, except quiet, quiet_step,
        quiet_days, drop_step and negative_run, which include the day.
    """
    span, width = present.shape
    out = {name: np.zeros((span, width), dtype=np.float32) for name in _MEMORY}
    zero = np.zeros(width)
    history, mean, fast, selling = zero.copy(), zero.copy(), zero.copy(), zero.copy()
    spread_ratio = np.full(width, 2.0)
    sizes, size_log, size_dev = zero.copy(), zero.copy(), np.full(width, 0.7)
    receipts, receipt_log, receipt_dev, last_receipt = zero.copy(), zero.copy(), np.full(width, 0.5), zero.copy()
    receipt_age, count_age = zero.copy(), zero.copy()
    pack = np.zeros(width, dtype=np.int64)
    peak, negative_run = zero.copy(), zero.copy()
    quiet, quiet_days, drop_peak = zero.copy(), zero.copy(), zero.copy()
    usual_price = np.full(width, np.nan)
    any_price = bool(np.isfinite(price).any())

    for t in range(span):
        on = present[t]
        if not on.any():
            continue
        x = np.maximum(demand[t], 0.0)
        sold = on & (x > 0)
        # A series that has hardly sold counts as selling one unit in twice its known days.
        floor = np.maximum(mean, 1.0 / (2.0 * history + 10.0))
        out["history"][t], out["mean"][t], out["fast"][t] = history, floor, fast
        out["selling_share"][t] = selling
        start_size = np.where(sizes > 0, size_log, np.log(np.maximum(x, 1.0)))
        size_spread = np.maximum((size_dev * sizes + 0.8 * 4.0) / (sizes + 4.0), 0.15)
        out["size_log"][t], out["size_spread"][t] = start_size, size_spread
        dispersion = (spread_ratio * history + 2.0 * 10.0) / (history + 10.0)
        out["dispersion"][t] = dispersion
        start_receipt = np.where(receipts > 0, receipt_log, np.log(np.maximum(receipt[t], 1.0)))
        receipt_spread = np.maximum((receipt_dev * receipts + 0.5 * 3.0) / (receipts + 3.0), 0.1)
        out["receipt_log"][t], out["receipt_spread"][t] = start_receipt, receipt_spread
        out["last_receipt"][t], out["receipt_age"][t], out["pack"][t] = last_receipt, receipt_age, pack
        out["peak"][t], out["count_age"][t] = peak, count_age

        negative_run = np.where(on & (closing[t] < 0), negative_run + 1, np.where(on, 0.0, negative_run))
        out["negative_run"][t] = negative_run
        peak = np.where(on, np.maximum(peak, closing[t]), peak)
        count_age = np.where(on, np.where(np.isfinite(counted[t]), 0.0, count_age + 1), count_age)

        # No sale although the record says there is stock: the less likely by the usual share of selling days, the more
        # likely the stock is not there.
        able = on & is_open[t] & in_stock[t]
        chance = np.clip(np.minimum(selling * day_factor[t], 1.0 - np.exp(-floor * day_factor[t])), 0.0, 0.99)
        before = quiet
        grown = quiet - np.log10(1.0 - chance)
        quiet = np.where(sold, 0.0, np.where(able, grown, quiet))
        quiet_days = np.where(sold, 0.0, quiet_days + able)
        # One report per decade: a silence of a month is not thirty anomalies.
        stepped = able & ~sold & (np.floor(quiet) > np.floor(before)) & (closing[t] > 0)
        out["quiet"][t], out["quiet_days"][t] = quiet, quiet_days
        out["quiet_step"][t] = np.where(stepped, quiet, 0.0)

        seen = on & is_open[t] & (in_stock[t] | (x > 0))
        rate = np.where(seen, np.maximum(1.0 / (history + 1.0), 0.0115), 0.0)
        quick = np.where(seen, np.maximum(1.0 / (history + 1.0), 0.094), 0.0)
        deviation = np.sqrt(np.maximum(dispersion * (floor + floor * floor), 1e-6))
        capped = np.minimum(x, np.where(history >= 10, floor + 6.0 * deviation, np.inf))
        # With the variance of a day's demand v and weight w per day, the fast mean varies by v·w/(2−w).
        fall = (mean - fast) / np.maximum(deviation * 0.222, 1e-9)
        drop = np.where(seen & (history >= 28) & (sizes >= 8), np.maximum(fall - 1.0, 0.0), 0.0)
        drop_peak = np.where(drop > 0, drop_peak, 0.0)
        out["drop_step"][t] = np.where(np.floor(drop * 2) > np.floor(drop_peak * 2), drop, 0.0)
        drop_peak = np.maximum(drop_peak, drop)
        error = np.minimum((capped - mean) ** 2 / np.maximum(floor + floor * floor, 1e-9), 40.0)
        spread_ratio += np.where(history >= 3, rate, 0.0) * (error - spread_ratio)
        mean = mean + rate * (capped - mean)
        fast = fast + quick * (capped - fast)
        selling = selling + rate * (sold - selling)
        history = history + seen

        log_x = np.log(np.maximum(x, 1e-3))
        off = np.clip(log_x - start_size, -4.0 * size_spread, 4.0 * size_spread)
        rate = np.where(sold, np.maximum(1.0 / (sizes + 1.0), 0.02), 0.0)
        size_log = np.where(sold, start_size + rate * off, size_log)
        # 1.2533 makes a mean absolute deviation a standard deviation under normality.
        size_dev = size_dev + np.where(sizes > 0, rate, 0.0) * (1.2533 * np.abs(off) - size_dev)
        sizes = sizes + sold

        got = on & (receipt[t] > 0)
        if got.any():
            log_r = np.log(np.maximum(receipt[t], 1e-3))
            off = np.clip(log_r - start_receipt, -4.0 * receipt_spread, 4.0 * receipt_spread)
            rate = np.where(got, 1.0 / np.minimum(receipts + 1.0, 20.0), 0.0)
            receipt_log = np.where(got, start_receipt + rate * off, receipt_log)
            receipt_dev = receipt_dev + np.where(receipts > 0, rate, 0.0) * (1.2533 * np.abs(off) - receipt_dev)
            whole = np.round(receipt[t]).astype(np.int64)
            pack = np.where(got, np.gcd(pack, whole), pack)
            receipts = receipts + got
            last_receipt = np.where(got, receipt[t], last_receipt)
        receipt_age = np.where(got, 0.0, receipt_age + on)

        if any_price:
            told = on & np.isfinite(price[t]) & (price[t] > 0)
            change = np.log(
                np.where(told, price[t], 1.0)
                / np.where(np.isfinite(usual_price), usual_price, np.where(told, price[t], 1.0))
            )
            out["price_change"][t] = np.where(told, np.clip(change, -3.0, 3.0), 0.0)
            moved = np.where(np.isfinite(usual_price), usual_price * np.exp(0.1 * np.clip(change, -0.5, 0.5)), price[t])
            usual_price = np.where(told, moved, usual_price)
    return out


def _matching_movement(table: _Table, rows: np.ndarray, correction: np.ndarray) -> np.ndarray:
    """Return how many days before a count a movement of exactly its correction is on record, NaN where none is.

    More found than recorded fits a sale that was posted twice or belongs to another sku; fewer fits a receipt that did.
    Movements up to 60 days back are searched, the latest match is given.
    """
    ago = np.full(len(rows), np.nan)
    places = np.flatnonzero(np.abs(correction) >= 1)
    if not len(places):
        return ago
    back = np.arange(0, 61)
    at = rows[places][:, None] - back
    same = at >= table.starts[table.code[rows[places]]][:, None]
    at = np.maximum(at, 0)
    units = correction[places][:, None]
    line = np.where(np.isfinite(table.max_line), table.max_line, -1.0)[at]
    left, came = table.sales[at], table.receipt[at]
    fits = same & np.where(units > 0, (left == units) | ((line == units) & (left >= units)), came == -units)
    days = table.day[rows[places]][:, None] - table.day[at]
    best = np.where(fits & (days <= 60), days, 61).min(axis=1)
    ago[places[best <= 60]] = best[best <= 60]
    return ago


def _rarity_grid(evidence: np.ndarray) -> np.ndarray:
    """Return the evidence reached by a share 10**-d of the rows, for each d of `_DECADES`; strictly increasing.

    Beyond the rarest row seen, each further decade needs as much more as the last one seen.
    """
    sorted_evidence = np.sort(evidence.astype(np.float64))[::-1]
    count = len(sorted_evidence)
    reach = int(np.searchsorted(_DECADES, np.log10(count), side="right"))
    place = np.maximum(np.ceil(count * 10.0 ** -_DECADES[:reach]).astype(int) - 1, 0)
    seen = sorted_evidence[place]
    step = max(float(seen[-1] - seen[max(0, reach - 11)]) / 10.0, 1e-3)
    beyond = seen[-1] + step * np.arange(1, len(_DECADES) - reach + 1)
    grid = np.concatenate([seen, beyond])
    # Equal values are spread by a hair so that the lowest decade of a run of equals is the one read.
    return np.asarray(np.maximum.accumulate(grid) + 1e-9 * np.arange(len(grid)))


def _size_grade(days: np.ndarray) -> np.ndarray:
    """Return 0, 1 or 2 for small, medium and large errors in days of mean demand."""
    return np.asarray(np.digitize(days, SIZE_EDGES_DAYS, right=True))


def _mis_keyed(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return units with a slip of the hand: a zero too many, or the last two digits exchanged."""
    whole = np.round(units)
    tens, ones = np.floor(whole / 10) % 10, whole % 10
    exchanged = whole - 10 * tens - ones + 10 * ones + tens
    can_exchange = (whole >= 12) & (tens != ones) & (exchanged > 0) & (whole == units)
    return np.where(can_exchange & (rng.random(len(units)) < 0.5), exchanged, units * 10.0)


def _partner_rows(table: _Table, rng: np.random.Generator) -> np.ndarray:
    """Return for each row another series' row of the same location and day, -1 where there is none."""
    group = table.place[table.code] * (int(table.day.max()) + 1) + table.day
    order = np.lexsort((rng.random(table.rows), group))
    ranked = group[order]
    first = np.append(True, ranked[1:] != ranked[:-1])
    begin = np.maximum.accumulate(np.where(first, np.arange(table.rows), 0))
    following = np.append(order[1:], order[0])
    last = np.append(ranked[1:] != ranked[:-1], True)
    # The last of a group takes the group's first, so everyone has a partner unless alone.
    chosen = np.where(last, order[begin], following)
    partner = np.empty(table.rows, dtype=np.int64)
    partner[order] = np.where(chosen == order, -1, chosen)
    return partner


def _with_errors(
    series: pd.DataFrame,
    table: _Table,
    change_sales: np.ndarray,
    change_receipts: np.ndarray,
    max_line: np.ndarray,
    repeated: np.ndarray,
    truth: list[tuple[int, str, float, float]],
    mean_units: np.ndarray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Book the changes, carry them through the stock to the next count, and name them."""
    change = change_receipts - change_sales
    # The count of the day itself still sees the error and mends it at once: a count ranks last within its instant.
    is_count = np.isfinite(table.counted)
    last_row = np.append(table.starts[1:], table.rows) - 1
    running = np.cumsum(change)
    since_start = running - (running - change)[table.starts][table.code]
    mended_until = np.where(is_count, since_start, 0.0)
    count_place = np.where(is_count, np.arange(table.rows), -1)
    latest_count = np.maximum.accumulate(np.maximum(count_place, table.starts[table.code] - 1))
    mended = np.where(latest_count >= table.starts[table.code], mended_until[np.maximum(latest_count, 0)], 0.0)
    closing_change = since_start - mended
    opening_change = np.append(0.0, closing_change[:-1])
    opening_change[table.starts] = 0.0
    correction = np.where(is_count, -(opening_change + change), 0.0)

    back = table.position
    result = series.copy()

    def book(name: str, values: np.ndarray) -> None:
        if name in result.columns:
            result[name] = values[back]

    book("sales_units", table.sales + change_sales)
    book("receipt_units", table.receipt + change_receipts)
    book("opening_units", table.opening + opening_change)
    book("closing_units", table.closing + closing_change)
    book("other_units", table.other + correction)
    book("demand_units", np.maximum(table.demand + change_sales, 0.0))
    book("counted_change_units", table.counted + correction)
    book("max_line_units", max_line)
    book("repeated_line_units", repeated)

    rows = np.array([entry[0] for entry in truth], dtype=np.int64)
    next_count = np.minimum.accumulate(np.where(is_count, np.arange(table.rows), table.rows)[::-1])[::-1][rows]
    mends = next_count <= last_row[table.code[rows]]
    mending_day = table.day[np.minimum(next_count, table.rows - 1)].astype("datetime64[D]")
    days = np.array([abs(entry[3]) for entry in truth]) / mean_units[rows]
    labels = series[KEYS].iloc[table.order[rows]].reset_index(drop=True)
    labels["kind"] = [entry[1] for entry in truth]
    labels["error_units"] = [entry[2] for entry in truth]
    labels["error_days"] = days
    labels["size"] = np.asarray(SIZES, dtype=object)[_size_grade(days)]
    labels["corrected_day"] = pd.Series(np.where(mends, mending_day, np.datetime64("NaT")).astype("datetime64[ns]"))
    return result, labels
