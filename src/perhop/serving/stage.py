"""The stage at which a server is: it starts, it serves, it stops. There is no way back."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a server is."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Course:
    """The stages of one server, as far as it has come."""

    def __init__(self) -> None:
        self.stage = Stage.STARTING

    def begin(self) -> None:
        """The listeners are up."""
        self.stage = Stage.SERVING

    def stop(self) -> None:
        """Somebody has asked it to stop."""
        self.stage = Stage.STOPPING
