"""The keys of `trusted_issuers` in `perhop.yaml`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from perhop.core.assertion import AssertionKind
from perhop.settings.section import Seconds, Section, Text


class WorkloadSection(Section):
    """Which workloads of the platform are which client."""

    subject: Text = Field(
        description="the `sub` of the workload; `*` stands for one or more characters other than `:` and `/`, and not "
        "at the beginning: `system:serviceaccount:prod:*`"
    )
    claims: dict[str, str | int | bool] = Field(
        default={},
        description="values that other claims must have, exactly; a name that begins with `/` is a JSON pointer, as "
        "`/kubernetes.io/namespace`",
    )
    client: Text = Field(description="the client that such a workload is: a name under `clients`")
    reaches: dict[str, list[Text]] | None = Field(
        default=None,
        description="the resources, with the scopes, that it gets of those that the client reaches; default: all",
    )


class TrustedIssuerSection(Section):
    """An issuer whose assertions are taken for tokens."""

    issuer: Text = Field(description="its `iss`, byte for byte; https except on this machine")
    kind: AssertionKind = Field(
        strict=False,
        description="`identity_assertion`: an identity provider, whose ID-JAGs say that a client may act for a person; "
        "`workload`: a platform, whose tokens say which workload speaks",
    )
    owner: Text = Field(description="who answers for trusting it: a name under `owners`")
    jwks_uri: Text | None = Field(
        default=None, description="where its keys are, https except on this machine; default: where its metadata says"
    )
    jwks: dict[str, Any] | None = Field(default=None, description="its public keys, as a JWK set")
    jwks_file: Text | None = Field(default=None, description="a file that holds the JWK set")
    max_lifetime: Seconds = Field(
        default=3600, description="seconds that an assertion may be good for; a longer one is refused"
    )
    clients: list[Text] = Field(
        default=[],
        description="with `identity_assertion`: the clients that may bring its assertions, each with a method other "
        "than `none`",
    )
    tenant: Text | None = Field(
        default=None,
        description="with `identity_assertion`: the `tenant` that an assertion must have; default: it must have none",
    )
    workloads: list[WorkloadSection] = Field(
        default=[], description="with `workload`: which of its workloads are which client; the first that fits counts"
    )
    single_use: bool | None = Field(
        default=None,
        description="with `workload`: `true` takes each token once only, by its `jti`; default: `false`, because "
        "platforms leave a workload one token until it expires. Identity assertions are always good once",
    )
