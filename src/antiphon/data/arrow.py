"""Arrow's functions on columns."""

from __future__ import annotations

from typing import Any

import pyarrow.compute

pc: Any = pyarrow.compute
"""Its functions are made when it is imported, where type checkers do not see them."""
