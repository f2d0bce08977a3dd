"""The words that all of `ml` shares: what a series is keyed by, array types, the targets that promise service.

Here: names that stand in frames and types of arrays. Not here: what any of them is computed with.
"""

import numpy as np
import numpy.typing as npt

KEYS = ["sku", "location_id"]
SERVICE_TARGETS = ("cycle_service_level", "fill_rate")

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
