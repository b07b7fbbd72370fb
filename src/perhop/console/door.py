"""The door: what is looked at before any page, so that no other site's page can reach the console for a person.

Spec: RFC 9110 §7.4
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from perhop.errors import ForeignForm, ForeignHost
from perhop.rules.issuer_uri import is_loopback

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Door:
    """Lets in what is sent to one of `hosts`; `scheme` is how people's browsers come."""

    scheme: str
    hosts: frozenset[str]

    @classmethod
    def of(cls, url: str) -> Door:
        """The door of this URL; on this machine both names of it are good, at the same port."""
        parts = urlsplit(url)
        name, port = parts.hostname or "", parts.port or _DEFAULT_PORTS[parts.scheme]
        names = {name, *(_LOOPBACK if is_loopback(name) else ())}
        written = {f"[{each}]" if ":" in each else each for each in names}
        bare = written if port == _DEFAULT_PORTS[parts.scheme] else set()
        return cls(parts.scheme, frozenset({f"{each}:{port}" for each in written} | bare))

    @property
    def is_https(self) -> bool:
        return self.scheme == "https"

    def check_host(self, headers: Headers) -> None:
        """A page that has another's name resolve to our address is told so, and nothing more.

        Raises: ForeignHost
        """
        named = headers.getlist("host")
        if len(named) != 1 or named[0].lower() not in self.hosts:
            raise ForeignHost(f"`Host: {', '.join(named)[:256]}`")

    def check_form(self, headers: Headers) -> None:
        """What a browser says of where a form was sent from. Who is no browser says nothing, and has no cookie to lose.

        Raises: ForeignForm
        """
        if any(each not in self._origins for each in headers.getlist("origin")):
            raise ForeignForm(f"`Origin: {', '.join(headers.getlist('origin'))[:256]}`")
        if any(each != "same-origin" for each in headers.getlist("sec-fetch-site")):
            raise ForeignForm(f"`Sec-Fetch-Site: {', '.join(headers.getlist('sec-fetch-site'))[:256]}`")

    def is_known_ours(self, headers: Headers) -> bool:
        """True if the browser says that a page of ours has sent this form."""
        return bool(headers.getlist("origin")) and all(each in self._origins for each in headers.getlist("origin"))

    @property
    def _origins(self) -> frozenset[str]:
        return frozenset(f"{self.scheme}://{each}" for each in self.hosts)
