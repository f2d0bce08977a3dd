"""What to order: the restock decision of one moment, line by line and for a whole day."""

from ml.restock.allocation import allocate
from ml.restock.recommendation import LINE_COLUMNS, recommend
from ml.restock.steps import TERM_NAMES
from ml.restock.transfers import transfer

__all__ = ["LINE_COLUMNS", "TERM_NAMES", "allocate", "recommend", "transfer"]
