"""Which restock policy holds for each item on a day, and where it comes from: the home's standard, then overrides.

Belongs here: the settings that a policy may have and putting overrides over the standard. Does not: which override
wins (serving/store/policies.py), what a policy orders (ml/restock/recommendation.py).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ml.restock import (
    DEMAND_MODELS,
    ORDER_RULES,
    TARGET_TYPES,
    UNKNOWN_STOCKS,
    Cause,
    largest_stocked,
    segment_members,
)
from ml.schema import KEYS, SERVICE_TARGETS
from orchestration.home.settings import Settings
from serving.store.policies import EffectivePolicy, PolicyOverride, effective

if TYPE_CHECKING:
    import pandas as pd

PLAN_USE = "plan_other_consumption"
RESTOCK_LIMITS = ("order_up_to_max_units", "max_order_units", "max_stock_units")
POLICY_COLUMNS = (
    *("sku", "location_id", "target_type", "target_value", "unmet_demand", "holding_cost", "shortage_cost"),
    *(
        "order_rule",
        "order_quantity_units",
        "min_units",
        "max_units",
        "demand_model",
        "unknown_stock",
        "plan_other_consumption",
        "dampener_units",
        "largest_order_units",
    ),
    *(*RESTOCK_LIMITS, "first_order_days"),
    *("line_cost", "no_order_above_days", "hold_level_within"),
    *("excess_above_days", "dead_after_days", "alert_above_money_per_day"),
    *("policy_source", "policy_note"),
)
EXCEPTION_COLUMNS = ("sku", "location_id", "policy_sequence", "cause", "exception")
_TEXTS = (
    "sku",
    "location_id",
    "target_type",
    "unmet_demand",
    "order_rule",
    "demand_model",
    "unknown_stock",
    "plan_other_consumption",
    "policy_source",
    "policy_note",
)
_SCOPES = ("default", "segment", "item")
_DAYS_OF_A_YEAR = 365
# A first order lasts so long, or until the order after it where that comes later.
FIRST_ORDER_DAYS = 14
_MOST_NAMES = 5


@dataclass(frozen=True)
class Setting:
    """One thing a policy may set.

    Attributes:
        read: the value from its text; raises ValueError with the remedy.
        meaning: what it is, with unit.
    """

    read: Callable[[str], Any]
    meaning: str


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"use one of {', '.join(allowed)}")
        return text

    return read


def _number(least: float, *, is_least_allowed: bool = True) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or number < least or (number == least and not is_least_allowed):
            raise ValueError(f"give a number {'of at least' if is_least_allowed else 'above'} {least:g}")
        return number

    return read


def _service_level(text: str) -> float:
    number = _number(0, is_least_allowed=False)(text)
    if number >= 1:
        raise ValueError("give a service level above 0 and below 1, such as 0.97")
    return number


SETTINGS: Mapping[str, Setting] = {
    "target_type": Setting(_choice(*TARGET_TYPES), f"what orders aim at: {', '.join(TARGET_TYPES)}"),
    "target_value": Setting(
        _service_level, "service level between 0 and 1; instead of the least cost a cycle service level is aimed at"
    ),
    "unmet_demand": Setting(_choice("lost_sales", "backorders"), "lost_sales or backorders"),
    "holding_cost_rate": Setting(
        _number(0, is_least_allowed=False), "yearly cost of holding stock, as a share of its value"
    ),
    "shortage_cost": Setting(
        _number(0, is_least_allowed=False), "money per unit lost, or per unit and day that a customer waits"
    ),
    "order_rule": Setting(_choice(*ORDER_RULES), f"when and how much: {', '.join(ORDER_RULES)}"),
    "order_quantity_units": Setting(_number(0, is_least_allowed=False), "units of the reorder-point rules"),
    "min_units": Setting(_number(0), "min_max: order at or below this position"),
    "max_units": Setting(_number(0, is_least_allowed=False), "min_max: order up to this position"),
    "demand_model": Setting(_choice(*DEMAND_MODELS), f"distribution of demand: {', '.join(DEMAND_MODELS)}"),
    "unknown_stock": Setting(
        _choice(*UNKNOWN_STOCKS),
        "what stock is taken to be that was never counted or fully received: ask (no order before a count), empty, or"
        " covers_lead_time (it lasts until an order arrives); without it ask",
    ),
    PLAN_USE: Setting(
        _choice("yes", "no"),
        "whether use that recurs without a sale, booked as adjustments, is demand: yes or no; without it as"
        " INVENTORYBOT_PLAN_OTHER_CONSUMPTION says",
    ),
    "dampener_units": Setting(_number(0), "smaller orders wait"),
    "line_cost": Setting(
        _number(0),
        "money that handling one order line costs; a least-cost line waits until it is worth it",
    ),
    "hold_level_within": Setting(
        _number(0),
        "a level stays as published while it lies so near to the best one, in standard deviations of the demand it"
        " covers; more = fewer changes, at a price; without it 0",
    ),
    "no_order_above_days": Setting(
        _number(0, is_least_allowed=False), "days of cover above which nothing is ordered; without it there is no limit"
    ),
    "order_up_to_max_units": Setting(_number(0), "largest position to order up to, passed by less than a pack"),
    "max_order_units": Setting(_number(0), "largest order, hard"),
    "max_stock_units": Setting(_number(0), "largest stock with everything on order, hard"),
    "first_order_days": Setting(
        _number(0, is_least_allowed=False),
        "days of its forecast that an item without any sale may be ordered up to; 14, or the review period if longer",
    ),
    "large_order_days": Setting(
        _number(0, is_least_allowed=False),
        "what customers ask of a day beyond so many days of mean demand (12 units at least) is bought to order",
    ),
    "excess_above_days": Setting(_number(0, is_least_allowed=False), "days of cover above which stock is excess"),
    "dead_after_days": Setting(_number(0, is_least_allowed=False), "days without demand after which stock is dead"),
    "alert_above_money_per_day": Setting(
        _number(0), "money at risk a day from which stock is listed among the alerts; an empty shelf always is"
    ),
}


def read_setting(setting: str, text: str) -> Any:
    """Return the value of a setting from its text.

    Raises:
        ValueError: there is no such setting, or the value cannot be; the message names both and the remedy.
    """
    if setting not in SETTINGS:
        raise ValueError(f"there is no policy setting {setting!r}; the settings are {', '.join(SETTINGS)}")
    try:
        return SETTINGS[setting].read(text)
    except ValueError as remedy:
        raise ValueError(f"policy {setting} is {text!r}: {remedy}") from None


def standard_policy(settings: Settings, terms: "pd.DataFrame") -> "pd.DataFrame":
    """Return the home's own policy for each sku and location with a supplier, before any override.

    A unit left overnight costs its yearly holding rate over 365 days; a unit lost costs its margin. Where there is
    none, no cost can be least, and the item aims at the home's service level. What a first order may hold lasts until
    the order after it.

    Args:
        settings: of the home.
        terms: as `restock_frames.supplier_terms`, of which costs, prices and review periods in days are read.

    Returns:
        sku, location_id, target_type, target_value, unmet_demand, holding_cost, shortage_cost, unit_cost,
        first_order_days; one row per row of the terms. Costs are money per unit, the holding cost per unit and day.
    """
    cost, price = terms["unit_cost"], terms["unit_price"]
    has_margin = (price > cost) & (cost > 0)
    return terms[KEYS].assign(
        target_type=has_margin.map({True: settings.target_type, False: "cycle_service_level"}),
        target_value=settings.cycle_service_level,
        unmet_demand="lost_sales",
        holding_cost=cost * settings.holding_cost_rate / _DAYS_OF_A_YEAR,
        shortage_cost=(price - cost).clip(lower=0).fillna(0.0),
        unit_cost=cost,
        first_order_days=terms["review_periods"].clip(lower=FIRST_ORDER_DAYS).fillna(FIRST_ORDER_DAYS).astype(float),
    )


def planned_use(items: "pd.DataFrame | None", held: Iterable[PolicyOverride]) -> "pd.DataFrame":
    """Return for which items overrides say whether use that recurs without a sale is demand.

    What cannot be followed is left out; `effective_policies` names it.

    Args:
        items: known sku and location as of `effective_policies`; those of segments are found among them. None = none
            is known yet.
        held: overrides that hold on the day.

    Returns:
        sku, location_id, is_planned; the row without a sku is for all others.
    """
    import pandas as pd

    asked = [override for override in held if override.setting == PLAN_USE and override.value in ("yes", "no")]
    members: dict[str, set[tuple[str, str]]] = {}
    for name in {override.segment for override in asked if override.segment is not None}:
        if items is None:
            continue
        try:
            found = items.loc[segment_members(name, items), KEYS]
        except ValueError:
            continue
        members[name] = set(found.itertuples(index=False, name=None))
    own = {(override.sku, override.location_id) for override in asked if override.scope == "item"}
    rows: list[tuple[str | None, str | None, bool]] = []
    for override in asked:
        if override.scope == "default":
            rows = [(None, None, override.value == "yes")]
    for sku, location_id in sorted(own.union(*members.values())):
        segments = [name for name, belonging in members.items() if (sku, location_id) in belonging]
        policy = effective(asked, sku=str(sku), location_id=str(location_id), segments=segments)[PLAN_USE]
        rows.append((sku, location_id, policy.value == "yes"))
    return pd.DataFrame(rows, columns=[*KEYS, "is_planned"]).astype(
        {"sku": "string", "location_id": "string", "is_planned": "boolean"}
    )


def effective_policies(
    standard: "pd.DataFrame", items: "pd.DataFrame", held: Iterable[PolicyOverride]
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Return the policy of each item with its source, and what of the overrides cannot be followed.

    An override that cannot be followed is left out, and what it stands above holds instead.

    Args:
        standard: the home's own policy, one row per sku and location that can be restocked: target_type,
            target_value (also of items that aim at no service level: it holds once an override has them aim at one),
            unmet_demand, holding_cost, shortage_cost, unit_cost, first_order_days.
        items: every known sku and location, with `ml.restock.policy_segments.SEGMENT_COLUMNS`.
        held: overrides that hold on the day, as `Store.policy_overrides(day)` returns them.

    Returns:
        policies: `POLICY_COLUMNS`, one row per row of `standard`. policy_source is the scope that sets the target:
            standard, default, segment or item; policy_note says for each override what it sets, why and by whom.
        exceptions: `EXCEPTION_COLUMNS`, one row per override, or pair of segments, that needs a person; cause is
            unreadable, unknown_item, no_terms, empty_segment or contradiction.
    """
    import pandas as pd

    known = set(items[KEYS].itertuples(index=False, name=None))
    keys = list(standard[KEYS].itertuples(index=False, name=None))
    members: dict[str, set[tuple[str, str]]] = {}
    followed: list[PolicyOverride] = []
    exceptions: list[tuple[str | None, str | None, int, str, str]] = []
    for override in held:
        problem = _problem(override, items, known, set(keys), members)
        if problem is None:
            followed.append(override)
        else:
            exceptions.append((override.sku, override.location_id, override.sequence, *problem))
    if not followed:
        return _without_idle_level(_typed(standard.assign(policy_source="standard"))), _exceptions(exceptions)

    shared = [override for override in followed if override.scope != "item"]
    own: dict[tuple[str | None, str | None], list[PolicyOverride]] = {}
    for override in followed:
        if override.scope == "item":
            own.setdefault((override.sku, override.location_id), []).append(override)
    changes: list[dict[str, Any]] = []
    contradictions: dict[tuple[int, int], tuple[PolicyOverride, PolicyOverride, int]] = {}
    for key, unit_cost, target_type in zip(keys, standard["unit_cost"], standard["target_type"], strict=True):
        segments = [name for name, belonging in members.items() if key in belonging]
        found = effective(shared + own.get(key, []), sku=key[0], location_id=key[1], segments=segments)
        changes.append(_changes(found, unit_cost, target_type))
        for policy in found.values():
            for other in policy.contradicts:
                pair = (policy.source.sequence, other.sequence)
                contradictions[pair] = (policy.source, other, contradictions.get(pair, (None, None, 0))[2] + 1)
    exceptions += [_contradiction(*pair) for pair in contradictions.values()]
    policies = _typed(standard.assign(policy_source="standard"))
    table = pd.DataFrame(changes, index=standard.index)
    if "large_order_days" in table:
        mean = standard[KEYS].merge(items, on=KEYS, how="left")["mean_daily_demand_units"].set_axis(standard.index)
        days = table.pop("large_order_days")
        table["largest_order_units"] = largest_stocked(mean * days, 1.0).where(days.notna())
    for name, changed in table.items():
        policies[name] = changed.where(changed.notna(), policies[name])
    return _without_idle_level(_typed(policies)), _exceptions(exceptions)


def _without_idle_level(policies: "pd.DataFrame") -> "pd.DataFrame":
    """Return policies whose target value is empty where no service level is aimed at."""
    aims_at_service = policies["target_type"].isin(SERVICE_TARGETS)
    return policies.assign(target_value=policies["target_value"].where(aims_at_service))


def _problem(
    override: PolicyOverride,
    items: "pd.DataFrame",
    known: set[tuple[str, str]],
    restocked: set[tuple[str, str]],
    members: dict[str, set[tuple[str, str]]],
) -> tuple[str, str] | None:
    """Return cause and remedy where an override cannot be followed; note the members of its segment where it can."""
    made = f"policy override {override.sequence} of {override.author}"
    try:
        read_setting(override.setting, str(override.value))
        if override.segment is not None and override.segment not in members:
            found = items.loc[segment_members(override.segment, items), KEYS]
            members[override.segment] = set(found.itertuples(index=False, name=None))
    except ValueError as error:
        return Cause.UNREADABLE.code, f"{made}: {error}; {Cause.UNREADABLE.remedy}"
    if override.scope == "item" and override.sku is not None and override.location_id is not None:
        key, named = (override.sku, override.location_id), f"sku {override.sku!r} at {override.location_id!r}"
        if key not in known:
            unknown = f"{made} is for {named}, which is not in the data{_known_instead(*key, known)}"
            return Cause.UNKNOWN_ITEM.code, f"{unknown}: {Cause.UNKNOWN_ITEM.remedy}"
        if key not in restocked:
            return Cause.NO_TERMS.code, f"{made} is for {named}, which has no supplier terms: {Cause.NO_TERMS.remedy}"
    if override.segment is not None and not members[override.segment]:
        return (
            Cause.EMPTY_SEGMENT.code,
            f"{made} is for segment {override.segment!r}, which has no items: {Cause.EMPTY_SEGMENT.remedy}",
        )
    return None


def _known_instead(sku: str, location_id: str, known: set[tuple[str, str]]) -> str:
    """Return the names that may have been meant: the item's other locations, else items that are spelt alike."""
    elsewhere = sorted(location for item, location in known if item == sku)
    if elsewhere:
        return f" (the item is known at {', '.join(elsewhere[:_MOST_NAMES])})"
    alike = get_close_matches(sku, {item for item, location in known if location == location_id}, _MOST_NAMES)
    return f" (similar names there: {', '.join(alike)})" if alike else ""


def _changes(found: Mapping[str, EffectivePolicy], unit_cost: float, target_type: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name, policy in found.items():
        value = read_setting(name, policy.value)
        if name == "holding_cost_rate":
            changes["holding_cost"] = unit_cost * value / _DAYS_OF_A_YEAR
        else:
            changes[name] = value
    if "target_value" in found and changes.get("target_type", target_type) == "cost":
        # Who asks for a service level is not content with the least cost, unless it was asked for as closely.
        aim, level = found.get("target_type"), found["target_value"]
        if aim is None or _SCOPES.index(aim.source.scope) < _SCOPES.index(level.source.scope):
            changes["target_type"] = "cycle_service_level"
    targets = [found[name].source for name in ("target_type", "target_value") if name in found]
    if targets:
        changes["policy_source"] = max((source.scope for source in targets), key=_SCOPES.index)
    if found:
        changes["policy_note"] = "; ".join(note_of(policy.source) for _, policy in sorted(found.items()))
    return changes


def note_of(override: PolicyOverride) -> str:
    """Return what an override sets, by which scope, by whom and why, as `policy_note` has it."""
    scope = f"segment {override.segment}" if override.segment else override.scope
    return f"{override.setting} {override.value} by {scope} ({override.author}: {override.reason})"


def _contradiction(
    winner: PolicyOverride, other: PolicyOverride, count: int
) -> tuple[str | None, str | None, int, str, str]:
    reason = (
        f"segments {winner.segment!r} and {other.segment!r} ask for {winner.setting} {winner.value} and {other.value} "
        f"of {count} {'item' if count == 1 else 'items'}; the later one, {winner.value}, holds: end one of the policy "
        f"overrides {other.sequence} and {winner.sequence}, or narrow its segment or dates"
    )
    return None, None, winner.sequence, Cause.CONTRADICTION.code, reason


def _typed(policies: "pd.DataFrame") -> "pd.DataFrame":
    return policies.reindex(columns=list(POLICY_COLUMNS)).astype(
        {name: "string" if name in _TEXTS else "float64" for name in POLICY_COLUMNS}
    )


def _exceptions(rows: list[tuple[str | None, str | None, int, str, str]]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(EXCEPTION_COLUMNS))
    return frame.astype(
        {"policy_sequence": "int64"} | dict.fromkeys(("sku", "location_id", "cause", "exception"), "string")
    )
