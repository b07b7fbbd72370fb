"""The root of every deliberate error, and of every refusal."""

from __future__ import annotations

from typing import ClassVar


class PerhopError(Exception):
    """Root of everything that Perhop raises on purpose."""


class Refused(PerhopError):
    """The peer is told no."""

    status: ClassVar[int] = 400
    error: ClassVar[str] = "invalid_request"
    description: ClassVar[str] = "the request was refused"
    reason: ClassVar[str] = "request.malformed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.description)
        self.detail = detail
