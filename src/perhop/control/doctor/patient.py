"""What the checks look at: the installation, whether it serves, and what its upstreams answered."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from perhop.control.doctor.answers import Answers
from perhop.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One installation. `readiness` is what its running server says of itself; None while none runs.

    `tls` believes the authorities that this machine believes. `free_bytes` tells how much room is left where a file
    lies, `installed` a library's version.
    """

    settings: Settings
    http: httpx2.AsyncClient
    tls: ssl.SSLContext
    clock: Callable[[], float]
    readiness: Mapping[str, Any] | None
    answers: Mapping[str, Answers]
    free_bytes: Callable[[Path], int]
    installed: Callable[[str], str | None]

    @property
    def now(self) -> float:
        """Seconds since the epoch, by our own clock."""
        return self.clock()

    @property
    def serves(self) -> bool:
        """True while `perhop serve` runs here."""
        return self.readiness is not None
