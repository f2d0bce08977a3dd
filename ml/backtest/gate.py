"""The gate: may this model spec replace that one?

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
    baseline: str,
    *,
    competitors: Sequence[str] = (),
    champion: str | None = None,
    segment_limit: float = 1.02,
    calibration_limit: float = 0.02,
    draws: int = 400,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge a model spec against others on the windows of an evaluation.

    Overall it may be no worse than any other on weighted RMSSE and on pinball loss, of single periods and of sums over
    the first periods where they were scored. In a segment it fails only when it
    is surely worse: the 90 % interval of the ratio, from a paired bootstrap over series, lies wholly above
    `segment_limit`. Its quantiles must be calibrated at every level; those of sums are told and never block, because a
    shock that all series share moves their sums together and a few windows hold few shocks.

    What a criterion that is not met does depends on what the challenger would replace:

    * No champion: overall against the baseline blocks. Orders need a forecast, and beating the baseline earns the
      place.
    * A champion of the same model spec: overall against the baseline and calibration block. Beside the other
      competitors the champion is no better, being the same model spec fitted to older data.
    * A champion of another model spec: everything blocks. A change must be shown to harm nobody.

    Args:
        evaluation: from `ml.backtest.evaluate`, with all model specs named here.
        challenger: model spec to judge.
        baseline: baseline that any champion must beat.
        competitors: further model specs.
        champion: model spec in use, `challenger` itself where it is the same; None = none is in use.
        segment_limit: ratio to a competitor that no segment may surely exceed.
        calibration_limit: share by which a level may lie outside P(y < q) ... P(y <= q).
        draws: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        criterion, value, threshold, met (value <= threshold), blocks, passed (met, or does not block): one row per
        criterion. The whole gate passes when every row does.

    Raises:
        ValueError: for a model spec the evaluation lacks.
    """
    others = list(dict.fromkeys([baseline, *competitors, *([champion] if champion not in (None, challenger) else [])]))
    known = set(evaluation.series["model_spec"])
    for name in (challenger, *others):
        if name not in known:
            raise ValueError(
                f"model spec {name!r} is not in the evaluation, which has {sorted(known)}: evaluate it as well"
            )
    rows: list[tuple[str, float, float, bool]] = []
    is_first, is_change = champion is None, champion not in (None, challenger)
    keys = ["window", "sku", "location_id"]
    mine = evaluation.series[evaluation.series["model_spec"] == challenger]
    generator = np.random.default_rng(seed)
    for competitor in others:
        overall_blocks = competitor == baseline or is_change
        theirs = evaluation.series.loc[evaluation.series["model_spec"] == competitor, [*keys, "rmsse", "pinball"]]
        pairs = mine.merge(theirs, on=keys, suffixes=("", "_competitor"), validate="one_to_one")
        measures = {
            "wrmsse": (pairs["rmsse"] * pairs["weight"], pairs["rmsse_competitor"] * pairs["weight"]),
            "pinball": (pairs["pinball"] * pairs["periods"], pairs["pinball_competitor"] * pairs["periods"]),
        }
        item, _ = pd.factorize(pd.MultiIndex.from_frame(pairs[["sku", "location_id"]]))
        for measure, (own, other) in measures.items():
            ours, peers = own.fillna(0.0).to_numpy(), other.fillna(0.0).to_numpy()
            rows.append((f"{measure} over {competitor}, all", _ratio(ours.sum(), peers.sum()), 1.0, overall_blocks))
            for kind in SEGMENTS:
                for segment, inside in pairs.groupby(kind).indices.items():
                    low = _lower_ratio(ours[inside], peers[inside], item[inside], draws, generator)
                    criterion = f"{measure} over {competitor}, {kind} {segment}, surely"
                    rows.append((criterion, low, segment_limit, is_change))
        for span, ours_of_sums, theirs_of_sums in _sum_losses(evaluation.sums, challenger, str(competitor)):
            ratio = _ratio(ours_of_sums, theirs_of_sums)
            rows.append((f"pinball of {span}-period sums over {competitor}, all", ratio, 1.0, overall_blocks))
    shares = evaluation.calibration
    mine_shares = shares[(shares["model_spec"] == challenger) & (shares["segment_kind"] == "all")]
    for level, gap in zip(mine_shares["level"], mine_shares["gap"], strict=True):
        rows.append((f"calibration at {level:.2f}", abs(float(gap)), calibration_limit, not is_first))
    mine_sums = evaluation.sums[evaluation.sums["model_spec"] == challenger]
    for span, level, gap in zip(mine_sums["span"], mine_sums["level"], mine_sums["gap"], strict=True):
        rows.append((f"calibration of {span}-period sums at {level:.2f}", abs(float(gap)), calibration_limit, False))
    table = pd.DataFrame(rows, columns=["criterion", "value", "threshold", "blocks"])
    met = table["value"] <= table["threshold"] + 1e-12
    return table.assign(met=met, passed=met | ~table["blocks"])[
        ["criterion", "value", "threshold", "met", "blocks", "passed"]
    ]


def _sum_losses(sums: pd.DataFrame, challenger: str, competitor: str) -> list[tuple[int, float, float]]:
    """Return span and the mean pinball loss of both for each span that was scored."""
    losses = sums.groupby(["model_spec", "span"])["pinball"].mean()
    spans = sums["span"].unique()
    return [(int(span), float(losses[challenger, span]), float(losses[competitor, span])) for span in spans]


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
