"""The gate: may this model spec replace that one?

Here: one verdict per criterion from an evaluation. Not here: promotion, which is its own step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ml.backtest.calibration import pit_by_class
from ml.backtest.evaluation import Evaluation
from ml.backtest.tallies import SEGMENTS
from ml.metrics.verdict import Criterion, verdict_frame
from ml.schema import KEYS, Doubles, Integers

SEGMENT_LIMIT, PIT_LIMIT = 1.02, 0.1
_FEWEST_SERIES = 3


def verdict(
    evaluation: Evaluation,
    challenger: str,
    baseline: str,
    *,
    competitors: Sequence[str] = (),
    champion: str | None = None,
    segment_limit: float = SEGMENT_LIMIT,
    pit_limit: float = PIT_LIMIT,
    draws: int = 400,
    seed: int = 0,
    period: str = "period",
) -> pd.DataFrame:
    """Judge a model spec against others on the windows of an evaluation.

    Overall it may be no worse than any other on weighted RMSSE and on pinball loss, of single periods and of sums over
    the first periods where they were scored. In a segment it fails only when it
    is surely worse: the 90 % interval of the ratio, from a paired bootstrap over series, lies wholly above
    `segment_limit`. Its distributions must be right in every demand class: the interval of the distance of the
    randomised PIT of single periods must not lie wholly above `pit_limit` (`ml.metrics.pit`). The distance of sums is
    told and never blocks, because a shock that all series share moves their sums together and a few windows hold few
    shocks. Without sums no paths were drawn, and no PIT is judged.

    What a criterion that is not met does depends on what the challenger would replace:

    * No champion: overall against the baseline blocks. Orders need a forecast, and beating the baseline earns the
      place.
    * A champion of the same model spec: overall against the baseline and the PIT block. Beside the other
      competitors the champion is no better, being the same model spec fitted to older data.
    * A champion of another model spec: everything blocks. A change must be shown to harm nobody.

    Args:
        evaluation: from `ml.backtest.evaluate`, with all model specs named here.
        challenger: model spec to judge.
        baseline: baseline that any champion must beat.
        competitors: further model specs.
        champion: model spec in use, `challenger` itself where it is the same; None = none is in use.
        segment_limit: ratio to a competitor that no segment may surely exceed.
        pit_limit: distance of the PIT from even that no demand class may surely exceed.
        draws: bootstrap samples.
        seed: of the bootstrap.
        period: what a period is called, such as day.

    Returns:
        As `ml.metrics.verdict.verdict_frame`, one row per criterion. The whole gate passes when every row does.

    Raises:
        ValueError: for a model spec the evaluation lacks.
    """
    others = list(dict.fromkeys([baseline, *competitors, *([champion] if champion and champion != challenger else [])]))
    known = set(evaluation.series["model_spec"])
    for name in (challenger, *others):
        if name not in known:
            raise ValueError(
                f"model spec {name!r} is not in the evaluation, which has {sorted(known)}: evaluate it as well"
            )
    is_first, is_change = champion is None, champion not in (None, challenger)
    generator = np.random.default_rng(seed)
    criteria: list[Criterion] = []
    for competitor in others:
        overall_blocks = competitor == baseline or is_change
        for code, measure, pairs in _measured(evaluation, challenger, competitor, period):
            criteria.append(_overall(code, measure, competitor, pairs, overall_blocks, draws, generator))
            for kind in SEGMENTS if pairs.has_segments else ():
                for segment, inside in pairs.frame.groupby(kind).indices.items():
                    part = pairs.only(np.asarray(inside, dtype=np.int64))
                    low, high = part.interval(draws, generator)
                    criteria.append(
                        Criterion(
                            measure,
                            value=low,
                            threshold=segment_limit,
                            needed=f"interval not wholly above {segment_limit:g}",
                            blocks=is_change,
                            segment=f"{kind} {segment}",
                            competitor=competitor,
                            ours=part.ours,
                            theirs=part.theirs,
                            low=low,
                            high=high,
                            name=f"{code} over {competitor}, {kind} {segment}, surely",
                        )
                    )
    criteria += _calibrated(evaluation, challenger, others, pit_limit, not is_first, seed, period)
    return verdict_frame(criteria)


@dataclasses.dataclass(frozen=True)
class _Pairs:
    """Losses of two model specs on the same rows.

    Attributes:
        frame: sku, location_id and segments of each row.
        own: losses of the one, weighted [rows].
        other: losses of the other [rows].
        weight: of each row [rows].
        has_segments: whether the segments are judged.
    """

    frame: pd.DataFrame
    own: Doubles
    other: Doubles
    weight: Doubles
    has_segments: bool

    @property
    def ours(self) -> float:
        return float(self.own.sum() / (self.weight.sum() or 1.0))

    @property
    def theirs(self) -> float:
        return float(self.other.sum() / (self.weight.sum() or 1.0))

    def only(self, rows: Integers) -> _Pairs:
        return _Pairs(self.frame.iloc[rows], self.own[rows], self.other[rows], self.weight[rows], self.has_segments)

    def interval(self, draws: int, generator: np.random.Generator) -> tuple[float, float]:
        """Return the 90 % interval of the ratio when series are drawn again; NaN where there are too few."""
        item = self.frame.groupby(KEYS, sort=False).ngroup().to_numpy()
        number = int(item.max(initial=-1)) + 1
        if number < _FEWEST_SERIES:
            return float("nan"), float("nan")
        own, other = (np.bincount(item, weights=losses, minlength=number) for losses in (self.own, self.other))
        chosen = generator.integers(0, number, size=(draws, number))
        top, bottom = own[chosen].sum(axis=1), other[chosen].sum(axis=1)
        low, high = np.quantile(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 1.0), [0.05, 0.95])
        return float(low), float(high)


def _measured(
    evaluation: Evaluation, challenger: str, competitor: str, period: str
) -> Iterator[tuple[str, str, _Pairs]]:
    """Yield code and name of each measure with the losses of both."""
    keys = ["window", *KEYS]
    series = evaluation.series
    theirs = series.loc[series["model_spec"] == competitor, [*keys, "rmsse", "pinball"]]
    mine = series[series["model_spec"] == challenger]
    pairs = mine.merge(theirs, on=keys, suffixes=("", "_competitor"), validate="one_to_one")
    for code, measure, column, weight in (
        ("wrmsse", "WRMSSE", "rmsse", "weight"),
        ("pinball", "pinball loss", "pinball", "periods"),
    ):
        known = pairs[pairs[column].notna() & pairs[f"{column}_competitor"].notna()].reset_index(drop=True)
        weights = known[weight].to_numpy(dtype=np.float64)
        own, other = (known[name].to_numpy(dtype=np.float64) * weights for name in (column, f"{column}_competitor"))
        yield code, measure, _Pairs(known, own, other, weights, has_segments=True)
    losses = evaluation.sum_losses
    for span, part in losses.groupby("span", sort=False):
        both = part[part["model_spec"] == challenger].merge(
            part.loc[part["model_spec"] == competitor, [*keys, "pinball"]], on=keys, suffixes=("", "_competitor")
        )
        own, other = (both[name].to_numpy(dtype=np.float64) for name in ("pinball", "pinball_competitor"))
        name = f"{span}-{period} sums"
        yield f"pinball of {name}", f"pinball loss of {name}", _Pairs(both, own, other, np.ones(len(both)), False)


def _overall(
    code: str, measure: str, competitor: str, pairs: _Pairs, blocks: bool, draws: int, generator: np.random.Generator
) -> Criterion:
    low, high = pairs.interval(draws, generator)
    one = Criterion(
        measure,
        value=float("nan"),
        threshold=1.0,
        needed="ratio at most 1",
        blocks=blocks,
        competitor=competitor,
        ours=pairs.ours,
        theirs=pairs.theirs,
        low=low,
        high=high,
        name=f"{code} over {competitor}, all",
    )
    return dataclasses.replace(one, value=one.ratio)


def _calibrated(
    evaluation: Evaluation, challenger: str, others: Sequence[str], limit: float, blocks: bool, seed: int, period: str
) -> list[Criterion]:
    """Judge the PIT of each demand class; the competitor shown is the one whose distance is smallest."""
    table = pit_by_class(evaluation.pit, list(dict.fromkeys([challenger, *others])), seed=seed)
    criteria = []
    for (span, name), part in table.groupby(["span", "demand_class"], sort=False):
        distances = part.set_index("model_spec")
        own, competitors = distances.loc[challenger], distances.loc[distances.index.isin(others), "distance"]
        what = f"single {period}s" if span == 1 else f"{span}-{period} sums"
        criteria.append(
            Criterion(
                f"PIT distance of {what}",
                value=float(own["low"]),
                threshold=limit,
                needed=f"interval not wholly above {limit:g}",
                blocks=blocks and span == 1,
                segment=f"demand_class {name}",
                competitor=str(competitors.idxmin()),
                ours=float(own["distance"]),
                theirs=float(competitors.min()),
                low=float(own["low"]),
                high=float(own["high"]),
                is_own_interval=True,
                name=f"PIT distance of {what}, demand_class {name}, surely",
            )
        )
    return criteria
