"""What commands print: rows as text in columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.store import Proposal


def listing(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as text in columns."""
    texts = [list(header), *(["-" if value is None else str(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in texts
    )


def proposal_table(found: Sequence["Proposal"]) -> str:
    """Return proposals as text in columns."""
    from serving.store import units_text

    def why(made: "Proposal") -> str:
        reason = made.rejection if made.state == "rejected" else made.change_reason
        return "; ".join(filter(None, [reason, made.held_reason and f"not exported: {made.held_reason}"])) or "-"

    header = ["proposal", "state", "supplier", "sku", "at", "units", "order by", "ERP order", "by", "reason"]
    rows = [
        [
            *(made.proposal_id, made.state, made.supplier_id, made.sku, made.location_id, units_text(made.order_units)),
            *(made.order_by_date, made.erp_order, made.changed_by, why(made)),
        ]
        for made in found
    ]
    return listing(header, rows)
