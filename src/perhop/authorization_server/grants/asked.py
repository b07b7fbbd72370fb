"""What a grant is given: the request as it stands once the client is authenticated. Grants never touch raw HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.authorization_server.form import Form
from perhop.authorization_server.refresh_families import StoredRefreshToken
from perhop.core.assertion import VerifiedAssertion
from perhop.core.client import Client
from perhop.core.proof import UsedProof
from perhop.core.token import VerifiedToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One token request; `subject_token` is verified, and there for the exchange only.

    `refresh_token` is there for the refresh only, and only known: nothing of it is checked. `assertion` is verified,
    and there for the JWT bearer grant only. `proof` is of the key that the token will be bound to.
    """

    form: Form
    client: Client
    now: int
    subject_token: VerifiedToken | None = None
    refresh_token: StoredRefreshToken | None = None
    assertion: VerifiedAssertion | None = None
    proof: UsedProof | None = None

    @property
    def key(self) -> str | None:
        """Thumbprint of the key that the request proves; None if it proves none."""
        return self.proof.key if self.proof is not None else None
