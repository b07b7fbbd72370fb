"""What loading gives: frozen values with every path absolute and every default filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from perhop.core.newcomer import Admission
from perhop.core.rate_limits import RateLimits
from perhop.core.registry import Registry
from perhop.core.resource import UpstreamPool
from perhop.core.secret import Secret


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class AuthzSocket:
    """A socket in the file system, mode 0660: its owner and its group may ask there."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class AuthzAddress:
    """An address on this machine, where whoever knows the secret may ask."""

    address: Address
    secret: Secret

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """The listeners: `traffic` for clients and agents, `console` for people, `ops` for probes and metrics.

    `authz` is for proxies that carry calls themselves; None: nobody is answered.
    """

    traffic: Address
    console: Address
    ops: Address
    authz: AuthzSocket | AuthzAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export of the journal. `format` is `json` or `ocsf`; `to` is None for stdout."""

    name: str
    format: str
    to: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One loaded configuration. `max_call`, `approval_wait` and `drain` are in seconds. `console_url` is an origin.

    `forwarded_from` are the believed proxies, `inherited` the harmless variables of our own environment that local
    servers get to see. `registry` is what the file defines; `admission` says who else may come.
    """

    file: Path
    folder: Path
    issuer: str
    listen: Listen
    console_url: str
    database_path: Path
    policies_dir: Path
    policy_review_required: bool
    max_call: int
    approval_wait: int
    drain: int
    upstream_pool: UpstreamPool
    forwarded_from: tuple[IPv4Network | IPv6Network, ...]
    rate_limits: RateLimits
    exports: tuple[Export, ...]
    inherited: Mapping[str, str]
    registry: Registry
    admission: Admission

    @property
    def journal_path(self) -> Path:
        """The journal lies beside the database."""
        return self.database_path.with_name("journal.db")

    @property
    def socket_path(self) -> Path:
        """The control socket lies beside the database."""
        return self.database_path.with_name("perhop.sock")

    def cursor_path(self, export: str) -> Path:
        """How far an export got stands beside the database."""
        return self.database_path.with_name(f"export-{export}.cursor")

    @property
    def keys_dir(self) -> Path:
        """Signing keys and the journal's keys."""
        return self.folder / "keys"

    def unsafe(self) -> tuple[str, ...]:
        """The setting of every switch that weakens something and is on: told at every start."""
        return (
            *(
                f"resources.{resource.name}.upstream.unsafe_open_upstream"
                for resource in self.registry.resources.values()
                if resource.upstream is not None and resource.upstream.unsafe_open_upstream
            ),
            *(
                f"client_documents.{rule.host}.unsafe_inner_networks"
                for rule in self.admission.rules.values()
                if rule.inner_networks
            ),
        )
