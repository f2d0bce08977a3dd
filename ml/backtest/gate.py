"""The gate: may this recipe replace that one?

Here: one verdict per criterion from an evaluation. Not here: promotion, which is its own step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.backtest.evaluation import Evaluation
from ml.backtest.tallies import SEGMENTS
from ml.schema import Doubles


def verdict(
    evaluation: Evaluation,
    challenger: str,
    floor: str,
    *,
    rivals: Sequence[str] = (),
    champion: str | None = None,
    segment_limit: float = 1.02,
    calibration_limit: float = 0.02,
    draws: int = 400,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge a recipe against others on the windows of an evaluation.

    Overall it may be no worse than any other on weighted RMSSE and on pinball loss, of single periods and of sums over
    the first periods where they were scored. In a segment it fails only when it
    is surely worse: the 90 % interval of the ratio, from a paired bootstrap over series, lies wholly above
    `segment_limit`. Its quantiles must be calibrated at every level; those of sums are told and never block, because a
    shock that all series share moves their sums together and a few windows hold few shocks.

    What a criterion that is not met does depends on what the challenger would replace:

    * No champion: overall against the floor blocks. Orders need a forecast, and beating the floor earns the place.
    * A champion of the same recipe: overall against the floor and calibration block. Beside the other rivals the
      champion is no better, being the same recipe fitted to older data.
    * A champion of another recipe: everything blocks. A change must be shown to harm nobody.

    Args:
        evaluation: from `ml.backtest.evaluate`, with all recipes named here.
        challenger: recipe to judge.
        floor: baseline that any champion must beat.
        rivals: further baselines.
        champion: recipe in use, `challenger` itself where it is the same; None = none is in use.
        segment_limit: ratio to a rival that no segment may surely exceed.
        calibration_limit: share by which a level may lie outside P(y < q) ... P(y <= q).
        draws: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        criterion, value, threshold, met (value <= threshold), blocks, passed (met, or does not block): one row per
        criterion. The whole gate passes when every row does.

    Raises:
        ValueError: for a recipe the evaluation lacks.
    """
    others = list(dict.fromkeys([floor, *rivals, *([champion] if champion not in (None, challenger) else [])]))
    known = set(evaluation.series["recipe"])
    for name in (challenger, *others):
        if name not in known:
            raise ValueError(
                f"recipe {name!r} is not in the evaluation, which has {sorted(known)}: evaluate it as well"
            )
    rows: list[tuple[str, float, float, bool]] = []
    is_first, is_change = champion is None, champion not in (None, challenger)
    keys = ["window", "sku", "location_id"]
    mine = evaluation.series[evaluation.series["recipe"] == challenger]
    generator = np.random.default_rng(seed)
    for rival in others:
        theirs = evaluation.series.loc[evaluation.series["recipe"] == rival, [*keys, "rmsse", "pinball"]]
        pairs = mine.merge(theirs, on=keys, suffixes=("", "_rival"), validate="one_to_one")
        measures = {
            "wrmsse": (pairs["rmsse"] * pairs["weight"], pairs["rmsse_rival"] * pairs["weight"]),
            "pinball": (pairs["pinball"] * pairs["periods"], pairs["pinball_rival"] * pairs["periods"]),
        }
        item, _ = pd.factorize(pd.MultiIndex.from_frame(pairs[["sku", "location_id"]]))
        for measure, (own, other) in measures.items():
            ours, peers = own.fillna(0.0).to_numpy(), other.fillna(0.0).to_numpy()
            rows.append(
                (f"{measure} over {rival}, all", _ratio(ours.sum(), peers.sum()), 1.0, rival == floor or is_change)
            )
            for kind in SEGMENTS:
                for segment, inside in pairs.groupby(kind).indices.items():
                    low = _lower_ratio(ours[inside], peers[inside], item[inside], draws, generator)
                    rows.append((f"{measure} over {rival}, {kind} {segment}, surely", low, segment_limit, is_change))
        for span, ours_of_sums, theirs_of_sums in _sum_losses(evaluation.sums, challenger, str(rival)):
            ratio = _ratio(ours_of_sums, theirs_of_sums)
            rows.append((f"pinball of {span}-period sums over {rival}, all", ratio, 1.0, rival == floor or is_change))
    shares = evaluation.calibration
    mine_shares = shares[(shares["recipe"] == challenger) & (shares["segment_kind"] == "all")]
    for level, gap in zip(mine_shares["level"], mine_shares["gap"], strict=True):
        rows.append((f"calibration at {level:.2f}", abs(float(gap)), calibration_limit, not is_first))
    mine_sums = evaluation.sums[evaluation.sums["recipe"] == challenger]
    for span, level, gap in zip(mine_sums["span"], mine_sums["level"], mine_sums["gap"], strict=True):
        rows.append((f"calibration of {span}-period sums at {level:.2f}", abs(float(gap)), calibration_limit, False))
    table = pd.DataFrame(rows, columns=["criterion", "value", "threshold", "blocks"])
    met = table["value"] <= table["threshold"] + 1e-12
    return table.assign(met=met, passed=met | ~table["blocks"])[
        ["criterion", "value", "threshold", "met", "blocks", "passed"]
    ]


def _sum_losses(sums: pd.DataFrame, challenger: str, rival: str) -> list[tuple[int, float, float]]:
    """Return span and the mean pinball loss of both for each span that was scored."""
    losses = sums.groupby(["recipe", "span"])["pinball"].mean()
    return [(int(span), float(losses[challenger, span]), float(losses[rival, span])) for span in sums["span"].unique()]


def _ratio(own: float, other: float) -> float:
    if other > 0:
        return float(own / other)
    return 1.0 if own <= 0 else float("inf")


def _lower_ratio(own: Doubles, other: Doubles, item: np.ndarray, draws: int, generator: np.random.Generator) -> float:
    """Return the 5 % point of the ratio of sums when series are drawn again with replacement."""
    number, place = np.unique(item, return_inverse=True)
    mine = np.bincount(place, weights=own, minlength=len(number))
    theirs = np.bincount(place, weights=other, minlength=len(number))
    if len(number) < 3:
        return 1.0
    chosen = generator.integers(0, len(number), size=(draws, len(number)))
    top, bottom = mine[chosen].sum(axis=1), theirs[chosen].sum(axis=1)
    return float(np.quantile(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 1.0), 0.05))
