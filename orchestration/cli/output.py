"""What commands print: rows as text in columns."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from orchestration.ingest.names import shown

if TYPE_CHECKING:
    from serving.store import Proposal


def listing(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as text in columns."""
    texts = [list(header), *(["-" if value is None else shown(str(value)) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts
    )


def urgent_first(found: Sequence["Proposal"]) -> list["Proposal"]:
    """Return proposals by the day on which they must be ordered or sent, and of one day the dearest to lose first."""

    def urgency(made: "Proposal") -> tuple[str, float, float, str]:
        value = float(made.final_units * (made.unit_cost or 0))
        return (
            str(made.order_by_date or "9"),
            -float(made.detail.get("lost_margin_avoided") or 0),
            -value,
            made.proposal_id,
        )

    return sorted(found, key=urgency)


def _units(made: "Proposal", units: Decimal) -> str:
    """Return units of a proposal, and what was proposed where its approval orders something else."""
    from serving.store import units_text

    told = units_text(units)
    return told if made.adjusted_units is None else f"{told} ({units_text(made.order_units)} proposed)"


def worklist(found: Sequence["Proposal"], currency: str) -> str:
    """Return proposals as text in columns for whoever decides: what, how much, for how much money, why."""

    def why(made: "Proposal") -> str:
        if made.held_reason:
            return f"not exported: {made.held_reason}"
        if made.state == "proposed":
            return str(made.detail.get("reason") or "-")
        return made.rejection if made.state == "rejected" else f"{made.changed_by}: {made.change_reason or made.state}"

    header = ["order by", "proposal", "product", "sku", "at", "units", f"money {currency}".strip(), "state", "from"]
    rows = [
        [
            *(made.order_by_date, made.proposal_id, _short(str(made.detail.get("product_name") or "-"), 34), made.sku),
            *(made.location_id, _units(made, made.coming_units)),
            "-" if made.unit_cost is None else f"{made.coming_units * made.unit_cost:,.2f}",
            *(made.state, source_of(made), made.detail.get("stockout_date"), made.erp_order, _short(why(made), 120)),
        ]
        for made in found
    ]
    return listing([*header, "stock-out", "ERP order", "reason"], rows)


def source_of(made: "Proposal") -> str:
    """Return the supplier of an order, or that it is a transfer, and from where."""
    return f"transfer from {made.from_location_id}" if made.is_transfer else made.supplier_id


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def proposal_table(found: Sequence["Proposal"]) -> str:
    """Return proposals as text in columns."""

    def why(made: "Proposal") -> str:
        reason = made.rejection if made.state == "rejected" else made.change_reason
        return "; ".join(filter(None, [reason, made.held_reason and f"not exported: {made.held_reason}"])) or "-"

    header = ["proposal", "state", "from", "sku", "at", "units", "order by", "ERP order", "by", "reason"]
    rows = [
        [
            *(made.proposal_id, made.state, source_of(made), made.sku, made.location_id),
            *(_units(made, made.final_units), made.order_by_date, made.erp_order, made.changed_by, why(made)),
        ]
        for made in found
    ]
    return listing(header, rows)
