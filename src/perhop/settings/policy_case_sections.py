"""The keys of a file of test cases for policies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from perhop.rules.mcp_methods import SUPPORTED_REVISIONS
from perhop.settings.section import Section, Text

USUAL_TIME = "2026-01-07T12:00:00Z"
"""When a case happens that does not say when: a Wednesday at noon."""

Limit = Annotated[int, Field(ge=0, le=1_000_000_000)]


class CaseLimitsSection(Section):
    """The limits of a case's task."""

    calls: Limit | None = Field(default=None, description="how many calls the whole task may make; default: no bound")
    writes: Limit | None = Field(default=None, description="how many of them may write; default: no bound")


class CaseTaskSection(Section):
    """The task of a case."""

    purpose: Text = Field(default="a test case", description="what it is for; policy sees it only if it is approved")
    approved: bool = Field(default=False, description="the person in `subject` has consented to exactly this task")
    limits: CaseLimitsSection = Field(default=CaseLimitsSection(), description="what the task is held to")


class CaseSection(Section):
    """One case."""

    name: Text = Field(description="what the case shows, in words")
    agent: Text = Field(description="the client that got the first token of the chain")
    resource: Text = Field(description="the resource that is called, or asked a token for")
    tool: Text | None = Field(default=None, description="the tool that is called")
    prompt: Text | None = Field(default=None, description="the prompt that is got")
    read: Text | None = Field(default=None, description="the URI of the MCP resource that is read")
    action: Literal["list", "issue", "exchange"] | None = Field(
        default=None, description="what else is asked; a case has one of `tool`, `prompt`, `read` and `action`"
    )
    arguments: Any = Field(
        default=None,
        description="the arguments of the call, as keys and values; or as one text that is a JSON object, which can "
        "hold numbers with a fraction",
    )
    subject: Text | None = Field(default=None, description="the person for whom the agent acts, as `user:ann`")
    groups: list[Text] | None = Field(
        default=None, description="the groups of that person; default: they are not known"
    )
    client: Text | None = Field(
        default=None, description="who presents the token; default: the first of `actors`, else the agent"
    )
    actors: list[Text] = Field(
        default=[], description="the chain, the outermost first: client ids, and `gateway:RESOURCE`"
    )
    hop: int | None = Field(
        default=None, ge=1, le=64, description="which token of the chain it is; default: one more than there are actors"
    )
    scopes: list[Text] | None = Field(default=None, description="the token's scopes; default: all of the resource")
    time: Text | None = Field(
        default=None, description=f"when it happens, as `{USUAL_TIME}`, which is the default, a Wednesday"
    )
    ip: Text | None = Field(default=None, description="the caller's address; default: none is known")
    session: Text | None = Field(default=None, description="the MCP session")
    task: CaseTaskSection | None = Field(
        default=None, description="the task that the token names, `{}` for one without anything; default: none"
    )
    auth_time: Text | None = Field(
        default=None, description="when the person in `subject` signed in, written as `time`; default: it is not known"
    )
    acr: Text | None = Field(
        default=None, description="how that person signed in, in their provider's words; default: it is not known"
    )
    revision: Text = Field(default=SUPPORTED_REVISIONS[0], description="the MCP revision")
    expect: Literal["permit", "approval", "deny", "error"] = Field(
        description="`permit`; `approval`: permitted once a person of the owner's team approves the call; `deny`: by a "
        "`forbid`, because nothing permits it, or before policy is asked; `error`: refused because a policy cannot "
        "be evaluated"
    )
    by: list[Text] | None = Field(
        default=None, description="the `@id`s of all policies that decide; `[]`: none; default: whichever"
    )


class CasesFile(Section):
    """A file of cases."""

    cases: list[CaseSection] = Field(min_length=1, description="the cases")
