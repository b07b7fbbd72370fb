"""The table of attacks."""

from __future__ import annotations

from collections.abc import Sequence

from tests.attacks.row import Row
from tests.attacks.rows import claims, signatures

ROWS: Sequence[Row] = (*signatures.ROWS, *claims.ROWS)
