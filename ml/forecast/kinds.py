"""Every kind of forecaster: how it is trained, how a folder of it is read.

Here: the one list of kinds, and `load`, which reads any of them. A new forecaster is a module of its own and a line of
KINDS: then every training evaluates it, gives it the demand classes in which it is clearly better, and proposes that
as champion. Not here: the code of the kinds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ml.forecast.base import FittedForecaster, ModelSpec
from ml.forecast.baselines import RECENT, SEASONAL_NAIVE, BaselineForecaster, train_recent, train_seasonal_naive
from ml.forecast.boosted import BOOSTER, DemandForecaster
from ml.forecast.classical import ClassicalForecaster, train_croston_sba, train_ets, train_theta, train_tsb
from ml.forecast.ensemble import CombinedForecaster
from ml.forecast.neural import NETWORK, NeuralForecaster, train_neural
from ml.forecast.training import train


class Kind(NamedTuple):
    """A kind of forecaster.

    Attributes:
        train: makes one from demand.
        load: reads the folder that its `save` wrote.
        file: JSON document that its folder holds. Where kinds share one, its `kind` names the kind.
        is_member: whether the candidate of a training may mix it in, and so make it champion. The others are floors to
            beat, or too slow to be fitted to every series in every window: those are compared on a sample.
    """

    train: ModelSpec
    load: Callable[[Path], FittedForecaster]
    file: str
    is_member: bool = True


# The first member stands where no other is clearly better. A kind may add files to those of one before it: the last
# that fits a folder reads it.
KINDS: dict[str, Kind] = {
    BOOSTER: Kind(train, DemandForecaster.load, "forecaster.json"),
    SEASONAL_NAIVE: Kind(train_seasonal_naive, BaselineForecaster.load, "baseline.json", is_member=False),
    RECENT: Kind(train_recent, BaselineForecaster.load, "baseline.json"),
    NETWORK: Kind(train_neural, NeuralForecaster.load, "network.json", is_member=False),
    "ets": Kind(train_ets, ClassicalForecaster.load, "baseline.json", is_member=False),
    "theta": Kind(train_theta, ClassicalForecaster.load, "baseline.json", is_member=False),
    "croston_sba": Kind(train_croston_sba, ClassicalForecaster.load, "baseline.json", is_member=False),
    "tsb": Kind(train_tsb, ClassicalForecaster.load, "baseline.json", is_member=False),
}


def load(folder: str | Path) -> FittedForecaster:
    """Read a saved forecaster of any kind.

    Raises:
        ValueError: if the folder holds none, or one of another format.
    """
    source = Path(folder)
    if (source / "combination.json").is_file():
        return CombinedForecaster.load(source, load)
    for name, kind in reversed(KINDS.items()):
        if _fits(source / kind.file, name):
            return kind.load(source)
    files = sorted({"combination.json", *(kind.file for kind in KINDS.values())})
    raise ValueError(
        f"{source} holds no forecaster.json and none of {files} of a known kind: pass the folder that a forecaster's "
        f"save wrote; the kinds are {', '.join(KINDS)}"
    )


def _fits(path: Path, name: str) -> bool:
    return path.is_file() and json.loads(path.read_text()).get("kind", name) == name
