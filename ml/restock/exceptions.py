"""What a planner has to put right: every cause of an exception, with its text and its remedy.

Here belongs the list of causes, those of policy overrides and proposals included, and which of them an item has. What
is checked stands where it is read: `ml.restock.inputs`, `ml.restock.schedule`, `ml.restock.cycle`; budgets in
`ml.restock.plan`, overrides and all that SQL sees (restock_exceptions.sql) outside of `ml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import numpy as np
import numpy.typing as npt

from ml.schema import Flags

Texts = npt.NDArray[np.object_]


class _Missing:
    """What a sentence says of a value that is not given, whatever format a number would have."""

    def __format__(self, format_spec: str) -> str:
        return "missing"

    def __repr__(self) -> str:
        return "missing"


@unique
class Cause(Enum):
    """What is wrong and what to do about it; a new kind of exception is a new member.

    Attributes:
        text: what is wrong; values of the item stand in braces.
        remedy: what to do.
    """

    TWO_POSITIONS = "the stock position has two rows for this item", "keep the correct one"
    TWO_SUPPLIER_TERMS = "supplier terms have two rows for this item", "keep the row with the first priority"
    TWO_POLICIES = (
        "the restock policy has two rows for this item",
        "end one of the contradicting overrides, or narrow its dates",
    )
    NO_SUPPLIER_TERMS = (
        "no supplier terms",
        "add a supplier_terms row or release it from quarantine; if it is no longer ordered, set is_active of the"
        " product to false",
    )
    NO_POLICY = "no restock policy", "add a policy row or a default"
    LEAD_TIME_MISSING = "lead time is missing", "give lead_time_days in supplier_terms"
    LEAD_TIME_NOT_WHOLE = (
        "lead time is {lead:g} periods",
        "give whole periods from order to shelf, 0 = on the shelf for the next period",
    )
    REVIEW_PERIOD_MISSING = "review period is missing", "give review_period_days of the supplier"
    REVIEW_PERIOD_NOT_WHOLE = (
        "review period is {review:g} periods",
        "give whole periods between two orders, 0 = every period",
    )
    ORDER_DAY_NOT_WHOLE = "next order day is {wait:g} periods ahead", "give whole periods, 0 = now"
    ORDER_MULTIPLE_NOT_POSITIVE = (
        "order multiple is {multiple:g} units",
        "give a pack size above 0, or leave it empty",
    )
    MINIMUM_ORDER_NEGATIVE = "minimum order is {moq:g} units", "give 0 or more"
    MINIMUM_ORDER_ABOVE_MAXIMUM = (
        "minimum order {moq:g} is above the maximum order or stock {largest:g}",
        "lower the minimum order or raise the maximum",
    )
    MINIMUM_ORDER_ABOVE_LEVEL = (
        "minimum order {moq:g} is above the order-up-to maximum {level:g}",
        "lower the minimum order or raise the maximum",
    )
    TARGET_TYPE_UNKNOWN = "policy target_type is {value!r}", "use one of {allowed}"
    UNMET_DEMAND_UNKNOWN = "policy unmet_demand is {value!r}", "use one of {allowed}"
    ORDER_RULE_UNKNOWN = "policy order_rule is {value!r}", "use one of {allowed}"
    DEMAND_MODEL_UNKNOWN = "policy demand_model is {value!r}", "use one of {allowed}"
    SERVICE_LEVEL_OUT_OF_RANGE = (
        "policy target_value is {value:g}",
        "give a service level above 0 and below 1",
    )
    COST_MISSING = (
        "policy holding_cost is {holding:g} and shortage_cost is {shortage:g}",
        "give both above 0, or another target",
    )
    ORDER_QUANTITY_MISSING = (
        "policy order_quantity_units is {quantity:g}",
        "give an order quantity above 0, or another order rule",
    )
    MIN_NOT_BELOW_MAX = "policy min_units is {least:g} and max_units is {most:g}", "give max_units above min_units"
    STOCK_ASSUMPTION_UNKNOWN = "policy unknown_stock is {value!r}", "use one of {allowed}"
    STOCK_UNKNOWN = (
        "its stock is not known, as it was never counted or fully received",
        "record a count of the shelf, or set the policy unknown_stock to empty or covers_lead_time",
    )
    ON_HAND_NEGATIVE = (
        "on hand is {on_hand:g} units",
        "count the shelf and record the count; until then it counts as empty",
    )
    SALES_MISSING = (
        "sales of the last {unrecorded:g} periods have not arrived, more than the forecast reaches",
        "send the missing files and run again; if nothing was sold, record a count of the shelf; "
        "if it was closed, add those days to calendar_events as closed, with its location_id",
    )
    PAUSE_WITHOUT_END = (
        "a location has sold nothing for long, as a count shows, and when it sells again is not known",
        "no demand is expected until it sells again; when that is known, add its closed days, from the first without a"
        " sale on, to calendar_events as closed, with its location_id; if it sells, send the missing files",
    )
    SOURCE_SILENT = (
        "one source of sales of a location has fallen silent while its others go on",
        "send its missing files and run again; if it was taken out of use, nothing is to be done, and four weeks of"
        " sales after its last it is named no more",
    )
    FORECAST_TOO_SHORT = (
        "the forecast reaches {horizon} periods and the order must cover {protection}",
        "forecast more periods, or correct the lead time, the review period or the next order day",
    )
    DEMAND_NOT_FINITE = "the forecast has missing or infinite values", "forecast this item again"
    DEMAND_NEGATIVE = "the forecast has negative demand", "forecast this item again"
    BUDGET_NOT_POSITIVE = "the budget is {budget:g}", "give a budget above 0, or none for no limit"
    UNREADABLE = (
        "a policy override has a setting, value or segment that cannot be read",
        "end the override and set it again",
    )
    UNKNOWN_ITEM = (
        "a policy override names an item that is not in the data",
        "correct its sku or location, or end the override",
    )
    NO_TERMS = "a policy override names an item without supplier terms", "add a supplier_terms row, or end the override"
    EMPTY_SEGMENT = "a policy override names a segment without items", "correct its segment, or end the override"
    CONTRADICTION = (
        "two segments set different values for the same item",
        "end one of the overrides, or narrow its segment or dates",
    )
    NOT_HANDED_OUT = (
        "a committed proposal orders an item that may no longer be ordered",
        "cancel it with `inventorybot proposals cancel`, and in the ERP where it was exported",
    )
    PROMISED_NOT_ORDERED = (
        "more is promised to customers than is there and on order, of an item that is no longer ordered",
        "buy the rest once, or cancel those reservations; if it is to be ordered, set is_active of the product to true",
    )
    TRANSFER_NOT_NAMED = (
        "a movement nearly is of a transfer that it does not name, so that both count",
        "if it is, send its line again with the proposal id as reference and the next revision",
    )

    def __init__(self, text: str, remedy: str) -> None:
        """Keep what is wrong and what to do."""
        self.text = text
        self.remedy = remedy

    @property
    def code(self) -> str:
        """The name as it is published, as in no_supplier_terms."""
        return self.name.lower()

    def sentence(self, **values: object) -> str:
        """Return what is wrong and what to do, with the values of an item."""
        shown = {name: _Missing() if _is_missing(value) else value for name, value in values.items()}
        return f"{self.text}: {self.remedy}".format(**shown)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


@dataclass(frozen=True)
class Exceptions:
    """The first cause found for each item: that is the one to mend first.

    Attributes:
        codes: `Cause.code` of each item, "" where none was found.
        sentences: likewise what is wrong and what to do.
    """

    codes: Texts
    sentences: Texts

    @classmethod
    def none(cls, items: int) -> Exceptions:
        """Return a record of so many items without a cause."""
        return cls(np.full(items, "", dtype=object), np.full(items, "", dtype=object))

    @property
    def is_free(self) -> Flags:
        """Whether no cause was found for an item."""
        return np.asarray(self.codes == "", dtype=bool)

    def part(self, rows: slice) -> Exceptions:
        """Return the record of some items; what is noted there is noted here."""
        return Exceptions(self.codes[rows], self.sentences[rows])

    def note(self, wrong: Flags, cause: Cause, **values: object) -> None:
        """Note a cause where it holds and none was noted before; values are one for all items or an array of them."""
        for row in np.flatnonzero(wrong & self.is_free):
            own = {name: value[row] if isinstance(value, np.ndarray) else value for name, value in values.items()}
            self.codes[row] = cause.code
            self.sentences[row] = cause.sentence(**own)
