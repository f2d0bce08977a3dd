"""What a training compares: the candidate, its parts, the baselines, the challengers, the champion's own model spec.

Here: which model specs stand side by side, and how that of a fitted forecaster is found again. Not here: their code
(`ml.forecast`).
"""

from __future__ import annotations

import dataclasses
import functools

from ml.forecast.base import FittedForecaster, ModelSpec
from ml.forecast.baselines import SEASONAL_NAIVE
from ml.forecast.boosted import BOOSTER, DemandForecaster
from ml.forecast.boosters import Settings
from ml.forecast.ensemble import COMBINED, Combination, CombinedForecaster
from ml.forecast.kinds import KINDS
from ml.forecast.training import train

BASELINE, CANDIDATE, CHAMPION = SEASONAL_NAIVE, COMBINED, "champion"


def candidate_members() -> tuple[str, ...]:
    """Return the kinds that the candidate mixes, the one that stands where no other is clearly better first."""
    return tuple(name for name, kind in KINDS.items() if kind.is_member)


def challengers() -> dict[str, ModelSpec]:
    """Return the model specs of all kinds, the booster first; meant for a sample of series, for some fit one by one."""
    return {name: kind.train for name, kind in KINDS.items()}


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What is evaluated side by side.

    Attributes:
        specs: name -> model spec.
        combinations: name -> combination of them; CANDIDATE is one.
        champion: name of the champion's model spec, CANDIDATE where it is the same; None = there is no champion.
    """

    specs: dict[str, ModelSpec]
    combinations: dict[str, Combination]
    champion: str | None


def candidates_beside(champion: FittedForecaster | None) -> Candidates:
    """Return the candidate, its members, the baselines and the model spec of the champion where it is another.

    A model spec is a kind of forecaster and its settings, run by today's code: what earlier code made of the same
    settings cannot be refitted.

    Args:
        champion: the forecaster in use, if any.
    """
    specs = {name: kind.train for name, kind in KINDS.items() if kind.is_member or name == BASELINE}
    combinations = {CANDIDATE: Combination(candidate_members())}
    if champion is None:
        return Candidates(specs, combinations, None)
    if not isinstance(champion, CombinedForecaster):
        name, spec = _spec_of(champion)
        return Candidates(specs | {name: spec}, combinations, name)
    named = [_spec_of(one) for one in champion.members.values()]
    mixed = tuple(name for name, _ in named)
    if mixed == candidate_members():
        return Candidates(specs, combinations, CANDIDATE)
    return Candidates(specs | dict(named), combinations | {CHAMPION: Combination(mixed)}, CHAMPION)


def _spec_of(forecaster: FittedForecaster) -> tuple[str, ModelSpec]:
    """Return name and model spec of a forecaster that is not a combination."""
    settings = forecaster.settings if isinstance(forecaster, DemandForecaster) else Settings()
    if forecaster.kind != BOOSTER or settings == Settings():
        return forecaster.kind, KINDS[forecaster.kind].train
    changed = {
        field.name: getattr(settings, field.name)
        for field in dataclasses.fields(Settings)
        if getattr(settings, field.name) != field.default
    }
    # MLflow refuses commas and brackets in the names of metrics, which begin with that of the model spec.
    name = f"{BOOSTER} with {' '.join(f'{key} {value}' for key, value in changed.items())}"
    return name, functools.partial(train, settings=settings)
