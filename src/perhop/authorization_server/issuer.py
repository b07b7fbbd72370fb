"""The issuer: everything that the endpoints of one authorization server need, as one frozen record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from perhop.authorization_server.assertion_keys import AssertionKeys
from perhop.authorization_server.epoch import Epoch
from perhop.authorization_server.federation.federation import Federation
from perhop.authorization_server.interaction.form_seal import FormSeal
from perhop.authorization_server.interaction.known_devices import KnownDevices
from perhop.authorization_server.interaction.pages import Pages
from perhop.authorization_server.interaction.passwords import Passwords
from perhop.authorization_server.interaction.throttle import SignInThrottle
from perhop.authorization_server.kept_grants import KeptGrants
from perhop.authorization_server.kept_proofs import KeptProofs
from perhop.authorization_server.known_groups import KnownGroups
from perhop.authorization_server.last_row import LastRow
from perhop.authorization_server.newcomers.directory import Newcomers
from perhop.authorization_server.reports import Reports
from perhop.authorization_server.request_rates import RequestRates
from perhop.authorization_server.revocation import Revoker
from perhop.authorization_server.standing import Standing
from perhop.authorization_server.stores import Stores
from perhop.authorization_server.tasks import Tasks
from perhop.authorization_server.token_ids import TokenIds
from perhop.core.decision import Decision, Question
from perhop.core.rate_limits import RateLimits
from perhop.core.registry import Registry
from perhop.journal.writer import Journal
from perhop.policy.lasting import Lasting
from perhop.rules import base64url
from perhop.rules.dpop_nonce import Nonces
from perhop.rules.lifetime import Leeway
from perhop.rules.revocation import Revocations
from perhop.tokens.kept_tokens import KeptTokens
from perhop.tokens.keys import Keyring, VerifyKey
from perhop.tokens.possession import ProofDesk

ID_BYTES = 16
"""128 bits: what is to be found by its id, and by nobody who was not told."""

SECRET_BYTES = 32
"""256 bits: codes and cookies, which whoever holds them may use."""


class Policy(Protocol):
    """What the authorization server asks of policy. For its own tokens only a `forbid` matters."""

    @property
    def version(self) -> str: ...

    def decide(self, question: Question) -> Decision: ...

    def lasting(self, question: Question) -> Lasting | None:
        """Where decisions on this question may be kept, whatever time it is; None where one might not last."""
        ...

    def reading_arguments(self, question: Question) -> tuple[str, ...]:
        """Ids of the policies that may be asked this question, and look at the call's arguments."""
        ...


class KnownTools(Protocol):
    """What is known of the tools of a resource: its owner's approval, else what its server lists."""

    def check_approved(self, resource: str, tool: str) -> None:
        """Raises: ToolQuarantined."""
        ...

    def schema_of(self, resource: str, tool: str) -> Mapping[str, Any] | None:
        """The tool's input schema; None if there is none."""
        ...

    def names(self, resource: str) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One configuration of the authorization server over its running parts.

    A reload makes a new one with `dataclasses.replace(registry=..., client_keys=..., policy=..., keyring=...)`; a
    request keeps the one that it began with. `client_keys` is `client_auth.private_key_jwt.load_client_keys(registry)`,
    and after those, as after the registry's clients, come those of `newcomers`.
    With each of them, the grants and proofs that are kept of earlier requests begin anew.
    `nonce_key`, 32 bytes, is the same for all replicas, and outlives a restart.
    """

    url: str
    registry: Registry
    client_keys: Mapping[str, Mapping[str, VerifyKey]]
    assertion_keys: AssertionKeys
    keyring: Keyring
    policy: Policy
    stores: Stores
    journal: Journal
    revocations: Revocations
    revoker: Revoker
    reports: Reports
    tools: KnownTools
    standing: Standing
    newcomers: Newcomers
    tasks: Tasks
    epoch: Epoch
    passwords: Passwords
    form_seal: FormSeal
    rates: RequestRates
    rate_limits: RateLimits
    federation: Federation
    groups: KnownGroups
    throttle: SignInThrottle
    devices: KnownDevices
    clock: Callable[[], float]
    randomness: Callable[[int], bytes]
    nonce_key: bytes = field(repr=False)
    pages: Pages = field(default_factory=Pages)
    kept_tokens: KeptTokens = field(default_factory=lambda: KeptTokens(Leeway.NONE), repr=False)
    kept_grants: KeptGrants = field(init=False, repr=False, compare=False, default_factory=KeptGrants)
    kept_proofs: KeptProofs = field(init=False, repr=False, compare=False, default_factory=KeptProofs)
    last_row: LastRow = field(init=False, repr=False, compare=False, default_factory=LastRow)
    _token_ids: TokenIds = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_token_ids", TokenIds(self.randomness, self.clock))

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self.clock())

    def new_token_id(self) -> str:
        """A fresh id for a token or a transaction."""
        return self._token_ids.new()

    def new_id(self) -> str:
        """A fresh id for anything else, such as a person, a task or an approval."""
        return base64url.encode(self.randomness(ID_BYTES))

    def new_secret(self) -> str:
        """A fresh code or cookie value."""
        return base64url.encode(self.randomness(SECRET_BYTES))

    def endpoint(self, path: str) -> str:
        """The URL of one of our endpoints."""
        return f"{self.url}{path}"

    def proof_desk(self, path: str) -> ProofDesk:
        """Where one of our endpoints takes proofs of possession."""
        return ProofDesk(nonces=Nonces(self.nonce_key, self.endpoint(path)), memory=self.stores.proofs)

    @property
    def is_https(self) -> bool:
        return urlsplit(self.url).scheme == "https"


CurrentIssuer = Callable[[], Issuer]
"""The issuer of the configuration in force; asked once per request."""
