"""The folder of a saved demand forecaster.

Here: its files, and what folders of earlier formats lack. Not here: other kinds, which keep their folders themselves;
`ml.forecast.kinds.load` finds the one that reads a folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ml.forecast.boosters import Settings
from ml.forecast.censoring import SaleSizes
from ml.forecast.distribution import Dependence
from ml.forecast.features import FeaturePlan
from ml.forecast.new_items import NewItems
from ml.forecast.promotions import PromotionMemory
from ml.forecast.season import season_from
from ml.panel import Frequency
from ml.schema import KEYS

FORMAT, READABLE = 3, (1, 2, 3)


def write(folder: Path, parts: Mapping[str, Any]) -> None:
    """Write the fields of a forecaster into a folder, as .ubj, .npz and .json files.

    Args:
        folder: made where it is missing.
        parts: field of `DemandForecaster` -> value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    models: dict[str, Any] = {
        **{f"mean_{number}": model for number, model in enumerate(parts["mean_models"])},
        "sold": parts["sold_model"],
        "spread": parts["spread_model"],
        "prior": parts["prior_model"],
    }
    boosters = {name: model for name, model in models.items() if model is not None and not isinstance(model, float)}
    for name, model in boosters.items():
        model.save_model(folder / f"{name}.ubj")
    np.savez_compressed(
        folder / "series.npz",
        sku=parts["keys"]["sku"].astype(str).to_numpy(dtype=str),
        location_id=parts["keys"]["location_id"].astype(str).to_numpy(dtype=str),
        statics=parts["statics"],
        has_demand=parts["has_demand"],
    )
    if parts["sizes"] is not None:
        parts["sizes"].save(folder / "sizes.npz")
    if parts["new_items"] is not None:
        parts["new_items"].save(folder / "new_items.json")
    plan = dataclasses.asdict(parts["plan"])
    document = {
        "format": FORMAT,
        "seed": parts["seed"],
        "boosters": list(boosters),
        "settings": dataclasses.asdict(parts["settings"]),
        "counted": parts["counted"],
        "level_share": parts["level_share"],
        "promotions": dataclasses.asdict(parts["promotions"]),
        "dependences": [dataclasses.asdict(one) for one in parts["dependences"]],
        "prior": parts["prior_model"] if isinstance(parts["prior_model"], float) else None,
        "whole_number_keys": [key for key in KEYS if pd.api.types.is_integer_dtype(parts["keys"][key])],
        "plan": plan,
        "season": None if parts["season"] is None else dataclasses.asdict(parts["season"]),
    }
    (folder / "forecaster.json").write_text(json.dumps(document, indent=1, sort_keys=True))


def read(folder: Path) -> dict[str, Any]:
    """Return the fields of a forecaster that `write` wrote, by this code or code before it.

    Raises:
        ValueError: if the folder holds none, or one of another format.
    """
    import xgboost

    path = folder / "forecaster.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no forecaster.json: pass the folder that DemandForecaster.save wrote")
    document = json.loads(path.read_text())
    if document.get("format") not in READABLE:
        raise ValueError(f"{path} has format {document.get('format')!r}, this code reads {READABLE}: train again")

    boosters = {}
    for name in document.get("boosters", sorted(file.stem for file in folder.glob("*.ubj"))):
        file = folder / f"{name}.ubj"
        if not file.is_file():
            raise ValueError(
                f"{folder} lacks {file.name}, which {path.name} names: copy the whole folder or train again"
            )
        boosters[name] = xgboost.Booster()
        boosters[name].load_model(file)

    plan = dict(document["plan"])
    plan["frequency"] = Frequency(**{**plan["frequency"], "windows": tuple(plan["frequency"]["windows"])})
    with np.load(folder / "series.npz", allow_pickle=False) as arrays:
        keys = pd.DataFrame({key: arrays[key].astype(object) for key in KEYS})
        for key in document["whole_number_keys"]:
            keys[key] = keys[key].astype(np.int64)
        statics, has_demand = arrays["statics"], arrays["has_demand"]
    return {
        "plan": FeaturePlan(**plan),
        "seed": document["seed"],
        "counted": document["counted"],
        "dependences": [Dependence(**one) for one in document["dependences"]],
        "mean_models": [boosters[name] for name in boosters if name.startswith("mean")],
        "sold_model": boosters.get("sold"),
        "spread_model": boosters.get("spread"),
        "prior_model": document["prior"] if document["prior"] is not None else boosters["prior"],
        "keys": keys,
        "statics": statics,
        "has_demand": has_demand,
        "sizes": SaleSizes.load(folder / "sizes.npz") if (folder / "sizes.npz").is_file() else None,
        "settings": Settings(**{"mean_boosters": 1, **document.get("settings", {})}),
        "level_share": document.get("level_share", 0.0),
        "season": season_from(document.get("season")),
        "promotions": PromotionMemory(**document.get("promotions", {"promotions": None})),
        "new_items": NewItems.load(folder / "new_items.json") if (folder / "new_items.json").is_file() else None,
    }
