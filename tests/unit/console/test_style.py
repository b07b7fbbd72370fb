"""What the console's colours must give to be seen."""

from __future__ import annotations

import re

import pytest

from tests.support.sources import SOURCE

STYLE = (SOURCE / "console/templates/console.css").read_text(encoding="utf-8")
LEAST = 3.0
"""WCAG 2.2, success criterion 1.4.11: by how much the edge of a field stands out from what is around it."""


def _light(colour: str) -> float:
    """The relative luminance, as WCAG defines it."""
    full = colour if len(colour) == 6 else "".join(each * 2 for each in colour)
    parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
def test_where_a_field_ends_is_seen(scheme: int) -> None:
    """In the light scheme and in the dark one the border of a field stands out from the page."""
    paper, field = (_light(re.findall(rf"--{name}: #([0-9a-f]+)", STYLE)[scheme]) for name in ("paper", "field"))
    assert (max(paper, field) + 0.05) / (min(paper, field) + 0.05) >= LEAST
    assert re.search(r"input, textarea \{[^}]*border: 1px solid var\(--field\)", STYLE)
