"""Whether forecast distributions are right, by demand class: distance of the randomised PIT from even.

Here: the classes and spans of an evaluation. Not here: the distance itself (`ml.metrics.pit`), the decision
(`ml.backtest.gate`) and the picture (`ml.backtest.plots`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ml.metrics.pit import pit_distance

CLASSES = ("smooth", "erratic", "intermittent", "lumpy")


def pit_by_class(pit: pd.DataFrame, model_specs: Sequence[str], *, draws: int = 400, seed: int = 0) -> pd.DataFrame:
    """Measure how far the PIT of each model spec lies from even, by demand class and span.

    Args:
        pit: `Evaluation.pit`.
        model_specs: those to measure.
        draws: bootstrap samples of each interval.
        seed: of the bootstrap.

    Returns:
        model_spec, span (1 = single periods), demand_class, series, values, distance, low, high (90 % interval): one
        row for each that has values; see `ml.metrics.pit.pit_distance`. Series that never sold have no class.
    """
    rows = []
    for span in pit["span"].unique() if len(pit) else ():
        of_span = pit[pit["span"] == span]
        for name in CLASSES:
            of_class = of_span[of_span["demand_class"] == name]
            for model_spec in model_specs:
                part = of_class[of_class["model_spec"] == model_spec]
                if part.empty:
                    continue
                series = part["series"].to_numpy()
                found = pit_distance(
                    part["pit"].to_numpy(dtype=np.float64), series, part["period"].to_numpy(), draws=draws, seed=seed
                )
                rows.append(
                    {
                        "model_spec": model_spec,
                        "span": int(span),
                        "demand_class": name,
                        "series": len(np.unique(series)),
                        "values": found.count,
                        "distance": found.distance,
                        "low": found.low,
                        "high": found.high,
                    }
                )
    columns = ["model_spec", "span", "demand_class", "series", "values", "distance", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
