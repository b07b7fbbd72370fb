"""The shape of `perhop.yaml`: which keys there are, of what type, and what each means.

The descriptions are the reference documentation. Values are looked at in `perhop.settings.build`; whether names agree
with each other in `perhop.settings.agreement`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from perhop.core.resource import CredentialKind, DataPlane, Risk, SenderConstraint, UpstreamPool
from perhop.settings.newcomer_sections import ClientDocumentsSection
from perhop.settings.rate_limit_section import RateLimitSection
from perhop.settings.section import NAME as NAME
from perhop.settings.section import Day, Name, Seconds
from perhop.settings.section import Section as Section
from perhop.settings.section import Text as Text
from perhop.settings.sign_in import SignInSection
from perhop.settings.trusted_issuer_sections import TrustedIssuerSection

INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "TMPDIR", "TZ", "USER")
"""The only variables of our own environment that a local server gets to see."""


class ListenSection(Section):
    """Where Perhop listens."""

    traffic: Text = Field(default="127.0.0.1:8420", description="authorization server and gateway: what clients reach")
    console: Text = Field(default="127.0.0.1:8421", description="the console: pages for the people of the owners")
    ops: Text = Field(default="127.0.0.1:8422", description="health and metrics; for your own network only")
    authz: Text | None = Field(
        default=None,
        description="where another proxy asks about calls of resources with `data_plane: forward_auth`: `unix:PATH`, a "
        "socket of mode 0660, or HOST:PORT on this machine with a secret; absent: nowhere",
    )
    authz_secret: Text | None = Field(
        default=None,
        description="what the proxy sends as `X-Perhop-Proxy-Secret` when `authz` is HOST:PORT, 32 characters or more",
    )
    authz_secret_file: Text | None = Field(
        default=None, description="a file that holds it; one newline at its end is dropped"
    )


class WebhookSection(Section):
    """Where a team is told."""

    url: Text = Field(
        description="where calls that wait for this team are told of, https except on this machine; redirects are not "
        "followed"
    )
    secret: Text | None = Field(
        default=None,
        description="what the messages are signed with, 32 characters or more: `whsec_` and base64 of 24 to 64 random "
        "bytes, as receivers' libraries take it; any other text is used as it is. Better: `secret_file`",
    )
    secret_file: Text | None = Field(
        default=None, description="a file that holds the secret; one newline at its end is dropped"
    )


class OwnerSection(Section):
    """A team that answers for resources and clients."""

    contact: Text = Field(description="where to reach the team")
    members: list[Text] = Field(default=[], description="e-mail addresses of its people")
    deputies: list[Text] = Field(default=[], description="e-mail addresses of those who act when no member does")
    webhook: WebhookSection | None = Field(
        default=None, description="where the team is told of calls that wait for its approval; default: nowhere"
    )


class ScopeSection(Section):
    """One scope of one resource."""

    says: Text = Field(description="what it allows, in the words that a person reads when asked for consent")
    tools: list[Text] = Field(
        default=[],
        description="tools that need this scope, by name or with `*`; once any scope of a resource lists tools, a tool "
        "that no scope lists cannot be called",
    )
    default: bool = Field(
        default=False, description="named to clients that do not know what to ask for; if none is: all"
    )


class CredentialSection(Section):
    """What the gateway presents to the upstream."""

    kind: CredentialKind = Field(
        strict=False,
        description="`exchange`: a token of its own for each caller, good for this upstream only; `call`: a token for "
        "each call, good for this call of this upstream and once only; `none`: nothing, for a server on this machine "
        "that checks nothing",
    )


class UpstreamSection(Section):
    """The real MCP server behind the gateway: at a `url`, or run by a `command`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["url"]}, {"required": ["command"]}]})

    url: Text | None = Field(
        default=None, description="where the gateway sends calls; required unless there is a `command`"
    )
    command: list[Text] | None = Field(
        default=None,
        min_length=1,
        description="a local server, which the gateway runs and speaks with over its standard streams: the program and "
        "its arguments, without a shell. It gets no token, so `credential` must be `kind: none`. Put no secret here: "
        "every list of processes shows it",
    )
    resource: Text | None = Field(
        default=None, description="the audience of the tokens that the gateway presents; required unless `kind: none`"
    )
    credential: CredentialSection = Field(description="what the gateway presents to the upstream")
    unsafe_open_upstream: bool = Field(
        default=False,
        description="forward although the self-test does not show that the upstream refuses tokens of others, and "
        "allow `kind: none` for an upstream that is not on this machine: whoever reaches it may call it past Perhop",
    )
    answer_timeout: Seconds = Field(
        default=120,
        description="seconds until the answer to a call has to begin: over HTTP its head, from a `command` the first "
        "message for the call",
    )
    ca_file: Text | None = Field(
        default=None,
        description="with `url`: a PEM file of the certificates that are believed instead of the system's",
    )
    connect_timeout: Seconds = Field(default=5, description="with `url`: seconds until a connection has to be there")
    circuit_failures: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="with `url`: after so many failures in a row the upstream is left alone for a while",
    )
    circuit_seconds: Seconds = Field(
        default=5, description="with `url`: so many seconds; then one call tries whether it is back"
    )
    folder: Text | None = Field(
        default=None, description="with `command`: where it runs; default: the folder of this file"
    )
    environment: dict[str, str] = Field(
        default={},
        description="with `command`: its environment variables, which are taken for secrets. Besides these it sees "
        f"{', '.join(f'`{name}`' for name in INHERITED)} of ours and nothing else",
    )
    environment_file: Text | None = Field(
        default=None, description="with `command`: a file of further variables, a line `NAME=value` each"
    )
    start_timeout: Seconds = Field(
        default=30, description="with `command`: seconds until a process has to answer for the first time"
    )
    max_sessions: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="with `command`: how many sessions, each with a process of its own, a server of a revision with a "
        "handshake may have at once; when all are taken, one principal keeps half of them at most, and at least one, "
        "while others want some",
    )
    session_idle: Seconds = Field(
        default=600, description="with `command`: seconds after which a session that nobody uses is ended"
    )


class ResourceSection(Section):
    """An MCP server that tokens are good for."""

    uri: Text = Field(description="what clients call and ask for: the audience of their tokens")
    owner: Text = Field(description="who answers for it: a name under `owners`")
    tenant: Name | None = Field(default=None, description="the tenant that its tokens carry")
    risk: Risk = Field(
        default=Risk.MEDIUM, strict=False, description="caps the lifetime of tokens: 300 s, and 60 s where it is `high`"
    )
    scopes: dict[str, ScopeSection] = Field(
        min_length=1, description="its scopes by name; a refused call is told the first of the file that lists the tool"
    )
    upstream: UpstreamSection | None = Field(
        default=None,
        description="the server behind the gateway; absent: no gateway, the server itself is at `uri`",
    )
    data_plane: DataPlane = Field(
        default=DataPlane.GATEWAY,
        strict=False,
        description="what is at `uri` and forwards to `upstream`: `gateway`, Perhop itself; `forward_auth`, another "
        "proxy, which asks at `listen.authz` about each call",
    )
    sender: SenderConstraint = Field(
        default=SenderConstraint.ANY,
        strict=False,
        description="`dpop`: only tokens that are bound to a key of the client's are given out and taken for `uri`; "
        "`any`: a client that proves a key gets a token that is bound to it, every other one a bearer token",
    )
    record_arguments: list[Text] = Field(
        default=[],
        max_length=16,
        description="names of arguments whose values the journal holds, so that `perhop policy replay` can decide by "
        "them: texts of up to 256 characters, whole numbers, `true` and `false`; of every other argument it holds a "
        "MAC. What is recorded stays recorded: list none that may be secret or about a person",
    )


class AuthenticationSection(Section):
    """How a client proves who it is."""

    method: Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"] = Field(
        description="`none` is for public clients: applications that people run and that can keep no secret"
    )
    secret: Text | None = Field(default=None, description="the secret, 32 characters or more")
    secret_file: Text | None = Field(
        default=None, description="a file that holds it; one newline at its end is dropped"
    )
    jwks: dict[str, Any] | None = Field(default=None, description="the client's public keys, as a JWK set")
    jwks_file: Text | None = Field(default=None, description="a file that holds the JWK set")


class ClientSection(Section):
    """An agent, an application, or a server that calls on."""

    owner: Text = Field(description="who answers for it: a name under `owners`")
    purpose: Text = Field(description="what it is for, in words")
    expires: Day = Field(description="the last day, UTC, on which it is given tokens")
    authentication: AuthenticationSection = Field(description="how it proves who it is")
    grants: (
        list[
            Literal[
                "authorization_code",
                "refresh_token",
                "client_credentials",
                "token_exchange",
                "urn:ietf:params:oauth:grant-type:token-exchange",
                "jwt_bearer",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
            ]
        ]
        | None
    ) = Field(
        default=None,
        description="narrows what it may use; default: `authorization_code` and `refresh_token` with `redirect_uris`, "
        "`client_credentials` with `reaches` or `serves` and a method other than `none`, `token_exchange` with "
        "`serves`, `jwt_bearer` where one of `trusted_issuers` names the client",
    )
    redirect_uris: list[Text] = Field(default=[], description="where browsers are sent back to, compared exactly")
    reaches: dict[str, list[Text]] = Field(default={}, description="the resources that it may ask for, with the scopes")
    serves: list[Text] = Field(
        default=[], description="the resources whose server it is; it may exchange their tokens, and report their calls"
    )
    default_resource: Text | None = Field(
        default=None, description="the resource meant when a request names none; never for token exchange"
    )
    sender: SenderConstraint = Field(
        default=SenderConstraint.ANY,
        strict=False,
        description="`dpop`: it gets no token without a proof of a key, and every token is bound to that key; `any`: "
        "as it asks",
    )


class HopSection(Section):
    """A step from the server of one resource to another resource."""

    source: Text = Field(alias="from", description="the resource whose server calls on")
    target: Text = Field(alias="to", description="the resource that it may call")
    scopes: dict[str, list[Text]] = Field(
        min_length=1, description="for each scope of the token that came in, the scopes that it gives at the target"
    )


class ExportSection(Section):
    """One export of the journal's records, which goes on while Perhop serves."""

    format: Literal["json", "ocsf"] = Field(
        description="`json`: each record as the journal has it; `ocsf`: as an event of OCSF 1.8.0; one a line"
    )
    to: Text = Field(description="a file that is appended to, or `-` for stdout")


class File(Section):
    """The whole file."""

    issuer: Text = Field(description="the URL that names this Perhop in every token; https except on this machine")
    listen: ListenSection = Field(
        default=ListenSection(),
        description="the addresses, HOST:PORT, where Perhop listens",
    )
    console_url: Text | None = Field(
        default=None,
        description="the URL at which people reach the console, without a path; https except on this machine; default: "
        "`http://` and `listen.console`, if that is on this machine",
    )
    database: Text = Field(
        default="sqlite:///perhop.db", description="the database; the journal lies beside it in `journal.db`"
    )
    policies: Text = Field(default="policies/", description="the folder of the Cedar policies, `*.cedar`")
    policy_review: Literal["none", "required"] = Field(
        default="none",
        description="`required`: policies are put in force only once somebody else than their author has approved "
        "them, with `perhop policy approve`; until then those go on that were approved last",
    )
    max_call: int = Field(default=600, ge=1, le=86400, description="seconds after which an unfinished answer is cut")
    approval_wait: int = Field(
        default=900,
        ge=60,
        le=86400,
        description="seconds that a call waits for a person where a policy has `@approval`; after that it is asked for "
        "anew",
    )
    drain: int = Field(
        default=8,
        ge=0,
        le=3600,
        description="seconds that calls get to end when Perhop is asked to stop; what starts and ends it must wait a "
        "few seconds longer before it kills, and containers are killed after 10 unless told otherwise",
    )
    upstream_pool: UpstreamPool = Field(
        default=UpstreamPool.AIOHTTP,
        strict=False,
        description="what keeps the connections to upstreams with a `url`: `aiohttp`, the library; `own`, a pool of "
        "Perhop's own, which takes less of the processor for each call and is stricter about what it takes for an "
        "answer. Either may be chosen while Perhop serves",
    )
    forwarded_from: list[Text] = Field(
        default=[],
        description="addresses or networks of proxies whose `X-Forwarded-*` headers are believed",
    )
    exports: dict[Name, ExportSection] = Field(
        default={}, description="exports of the journal, by name; how far one got stands in `export-NAME.cursor`"
    )
    limits: RateLimitSection = Field(
        default=RateLimitSection(), description="how much of one address, client or agent is taken in a minute"
    )
    owners: dict[str, OwnerSection] = Field(default={}, description="the teams, by name")
    resources: dict[str, ResourceSection] = Field(default={}, description="the MCP servers, by name")
    clients: dict[str, ClientSection] = Field(default={}, description="agents, applications and servers, by id")
    client_documents: list[ClientDocumentsSection] = Field(
        default=[],
        description="the hosts whose clients need not stand under `clients`: the id of each is the URL of a document "
        "that says what it is (a client ID metadata document)",
    )
    client_registration: Literal["none", "adopted"] = Field(
        default="none",
        description="`adopted`: clients may register themselves at `/register`, and get nothing until `perhop client "
        "adopt` says which owner answers for them, and what they reach",
    )
    hops: list[HopSection] = Field(default=[], description="which server may call on to which resource")
    trusted_issuers: dict[Name, TrustedIssuerSection] = Field(
        default={},
        description="issuers whose assertions are taken for tokens, by name: identity providers that speak for people, "
        "platforms that speak for workloads",
    )
    sign_in: SignInSection = Field(default=SignInSection(), description="how people sign in")
