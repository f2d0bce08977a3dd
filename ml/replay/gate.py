"""Whether a restock policy may replace another, and whether it keeps its promises.

Here belongs the judgement of replays (`ml.replay`). The gate of a forecast alone is in `ml.backtest.gate`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtr, ndtri

from ml.schema import KEYS

SERVICE_SLACK = 0.005
SEGMENT_LIMIT = 0.02
_DRAWS = 2000
_FEWEST_ITEMS = 10


def decision_verdict(
    challenger: pd.DataFrame,
    champion: pd.DataFrame,
    *,
    target_type: str = "cost",
    target_value: float | None = None,
    segments: pd.DataFrame | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two replays over the same demand and lead times.

    Where the target is cost, replayed cost decides and service is reported. Where it is a service level, cost decides
    among policies whose service is at least the target less half a point, or at least the champion's. A segment
    regresses only if the paired item-bootstrap 90 % interval of its cost change lies wholly above +2 %.

    Args:
        challenger: scored rows of `ml.replay.replay`.
        champion: likewise, same items and periods.
        target_type: cost, fill_rate or cycle_service_level (share of periods with demand that no unit was short).
        target_value: the service level that was asked, for the two service targets.
        segments: sku, location_id, segment; None = no segments.
        seed: of the bootstrap.

    Returns:
        One row per criterion: criterion, segment, value (cost change as a share of the champion's, negative = cheaper;
        service as a share), low, high (90 % interval), limit, is_decisive, passed, ours, theirs (cost of both, or
        service). Promote when every decisive row has passed.

    Raises:
        ValueError: the replays cover different items or periods, or a service target lacks its value.
    """
    ours, theirs = (frame[frame["is_scored"]].sort_values([*KEYS, "period_start"]) for frame in (challenger, champion))
    same = (
        len(ours) == len(theirs)
        and (ours[[*KEYS, "period_start"]].to_numpy() == theirs[[*KEYS, "period_start"]].to_numpy()).all()
    )
    if not same:
        raise ValueError("the replays cover different items or periods: run both over the same demand")
    if target_type not in ("cost", "fill_rate", "cycle_service_level"):
        raise ValueError(f"target_type is {target_type!r}: use cost, fill_rate or cycle_service_level")
    if target_type != "cost" and target_value is None:
        raise ValueError(f"target_type {target_type} needs target_value, the service level that was asked")
    cost = pd.DataFrame(
        {
            "ours": ours.groupby(KEYS)["cost"].sum(),
            "theirs": theirs.groupby(KEYS)["cost"].sum(),
        }
    )
    generator = np.random.default_rng(seed)
    value, low, high = _change(cost, generator)
    rows: list[tuple[object, ...]] = [
        ("cost", "all", value, low, high, 0.0, True, value <= 0, *cost[["ours", "theirs"]].sum())
    ]
    for name in ("fill_rate", "cycle_service_level"):
        reached, other = service(ours, name), service(theirs, name)
        decisive = name == target_type
        # A level that the champion misses too is no reason to keep it.
        limit = min((target_value or 0.0) - SERVICE_SLACK, other) if decisive else np.nan
        passed = not decisive or reached >= limit
        rows.append((name, "all", reached, np.nan, np.nan, limit, decisive, passed, reached, other))
    if segments is not None:
        labels = segments.set_index(KEYS)["segment"].reindex(cost.index)
        for label, part in cost.groupby(labels):
            value, low, high = _change(part, generator)
            enough = len(part) >= _FEWEST_ITEMS
            passed = not enough or low <= SEGMENT_LIMIT
            both = part[["ours", "theirs"]].sum()
            rows.append(("cost", str(label), value, low, high, SEGMENT_LIMIT, enough, passed, *both))
    columns = ["criterion", "segment", "value", "low", "high", "limit", "is_decisive", "passed", "ours", "theirs"]
    return pd.DataFrame(rows, columns=columns)


def _change(cost: pd.DataFrame, generator: np.random.Generator) -> tuple[float, float, float]:
    ours, theirs = cost["ours"].to_numpy(), cost["theirs"].to_numpy()
    drawn = generator.integers(0, len(cost), (_DRAWS, len(cost)))
    with np.errstate(divide="ignore", invalid="ignore"):
        sampled = np.nan_to_num(ours[drawn].sum(axis=1) / theirs[drawn].sum(axis=1) - 1)
        value = float(np.nan_to_num(ours.sum() / theirs.sum() - 1))
    low, high = np.percentile(sampled, [5, 95])
    return value, float(low), float(high)


def service(replayed: pd.DataFrame, kind: str) -> float:
    """Return the fill rate, or the share of periods with demand in which no unit was short, of replayed rows."""
    seen = replayed[~replayed["is_masked"].astype(bool) & (replayed["demand_units"] > 0)]
    if kind == "fill_rate":
        return float(seen["served_units"].sum() / max(seen["demand_units"].sum(), 1e-12))
    return float((seen["lost_units"] <= 0).mean()) if len(seen) else 1.0


def service_calibration(decisions: pd.DataFrame, *, target_value: float | None = None) -> pd.DataFrame:
    """Hold the promised service of past decisions against what was delivered.

    Args:
        decisions: one row per decided cycle: cohort (any label: demand class, month, promised band),
            promised (probability of no stock-out in the cycle), delivered (whether there was none).
        target_value: the cycle service level asked; adds the target to set so that this is delivered.

    Returns:
        cohort, cycles, promised_service, delivered_service, low, high (Wilson 90 % interval of what was delivered),
        is_calibrated (the promise lies inside) and, with a target, corrected_target: the target moved in normal
        quantiles by how far delivery missed the promise, shrunk where there are few cycles.
    """
    grouped = decisions.assign(delivered=decisions["delivered"].astype(float)).groupby("cohort")
    out = grouped.agg(
        cycles=("promised", "size"), promised_service=("promised", "mean"), delivered_service=("delivered", "mean")
    ).reset_index()
    count, share = out["cycles"].to_numpy(dtype=np.float64), out["delivered_service"].to_numpy(dtype=np.float64)
    z = 1.6448536269514722
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    out["low"], out["high"] = centre - half, centre + half
    out["is_calibrated"] = (out["promised_service"] >= out["low"]) & (out["promised_service"] <= out["high"])
    if target_value is not None:
        out["corrected_target"] = _corrected(out, target_value)
    return out


def _corrected(table: pd.DataFrame, target_value: float) -> npt.NDArray[np.float64]:
    cycles = table["cycles"].to_numpy(dtype=np.float64)
    # Half a cycle either way keeps the quantiles finite.
    delivered = (table["delivered_service"] * cycles + 0.5) / (cycles + 1)
    promised = table["promised_service"].clip(0.001, 0.999)
    missed = ndtri(promised.to_numpy()) - ndtri(delivered.to_numpy())
    corrected: npt.NDArray[np.float64] = ndtr(ndtri(target_value) + missed * cycles / (cycles + 100))
    return np.clip(corrected, 0.5, 0.999)
