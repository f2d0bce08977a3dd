"""The recipes that a training compares: the candidate, its parts, the baselines, challengers, the champion's own.

Here: which recipes stand in the line-up, and how the recipe of a fitted forecaster is made again. Not here: their code.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import cast

from ml.backtest.evaluation import Recipe
from ml.forecast.baselines import BaselineForecaster, train_recent, train_seasonal_naive
from ml.forecast.boosted import DemandForecaster, Settings, train
from ml.forecast.classical import train_croston_sba, train_ets, train_theta, train_tsb
from ml.forecast.ensemble import Combination, CombinedForecaster

BOOSTER, FLOOR, RECENT, CANDIDATE, CHAMPION = "xgboost", "seasonal_naive", "recent", "combined", "champion"
MEMBERS = (BOOSTER, RECENT)

Fitted = DemandForecaster | BaselineForecaster | CombinedForecaster


# Each fits series by series, or needs a library that is slow to load: meant for a sample of series.
CLASSICAL: dict[str, Recipe] = {
    "ets": train_ets,
    "theta": train_theta,
    "croston_sba": train_croston_sba,
    "tsb": train_tsb,
}
NETWORK = "network"


def challengers() -> dict[str, Recipe]:
    """Return the network and the classical methods beside the booster and both baselines, the booster first."""
    from ml.forecast.neural import train_neural

    return {BOOSTER: train, FLOOR: train_seasonal_naive, RECENT: train_recent, NETWORK: train_neural, **CLASSICAL}


@dataclasses.dataclass(frozen=True)
class LineUp:
    """What is evaluated side by side.

    Attributes:
        recipes: name -> recipe.
        combinations: name -> combination of them; CANDIDATE is one.
        champion: name of the champion's recipe, CANDIDATE where it is the same; None = there is no champion.
    """

    recipes: dict[str, Recipe]
    combinations: dict[str, Combination]
    champion: str | None


def line_up(champion: Fitted | None) -> LineUp:
    """Return the candidate, its members, the baselines and the recipe of the champion where it is another.

    A recipe is a kind of forecaster and its settings, run by today's code: what earlier code made of the same settings
    cannot be refitted.

    Args:
        champion: the forecaster in use, if any.
    """
    recipes: dict[str, Recipe] = {BOOSTER: train, FLOOR: train_seasonal_naive, RECENT: train_recent}
    combinations = {CANDIDATE: Combination(MEMBERS)}
    if champion is None:
        return LineUp(recipes, combinations, None)
    if not isinstance(champion, CombinedForecaster):
        name, recipe = _recipe_of(champion)
        return LineUp(recipes | {name: recipe}, combinations, name)
    named = [_recipe_of(cast("DemandForecaster | BaselineForecaster", one)) for one in champion.members.values()]
    members = tuple(name for name, _ in named)
    if members == MEMBERS:
        return LineUp(recipes, combinations, CANDIDATE)
    return LineUp(recipes | dict(named), combinations | {CHAMPION: Combination(members)}, CHAMPION)


def _recipe_of(forecaster: DemandForecaster | BaselineForecaster) -> tuple[str, Recipe]:
    """Return name and recipe of a forecaster that is not a combination."""
    if isinstance(forecaster, BaselineForecaster):
        return forecaster.kind, train_recent if forecaster.kind == RECENT else train_seasonal_naive
    if forecaster.settings == Settings():
        return BOOSTER, train
    changed = {
        field.name: getattr(forecaster.settings, field.name)
        for field in dataclasses.fields(Settings)
        if getattr(forecaster.settings, field.name) != field.default
    }
    # MLflow refuses commas and brackets in the names of metrics, which begin with that of the recipe.
    name = f"{BOOSTER} with {' '.join(f'{key} {value}' for key, value in changed.items())}"
    return name, functools.partial(train, settings=forecaster.settings)
