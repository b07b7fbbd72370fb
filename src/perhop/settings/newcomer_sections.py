"""The shape of what is said of clients that nobody wrote into the file."""

from __future__ import annotations

from pydantic import Field

from perhop.settings.section import Day, Section, Text


class ClientDocumentsSection(Section):
    """The clients of one host: each is what its own document says, and reaches what stands here."""

    host: Text = Field(
        description="the host of their URLs, exactly; with a port if that is not 443. Whoever can put a document "
        "there is admitted: a host that gives room to strangers admits strangers"
    )
    owner: Text = Field(description="who answers for them: a name under `owners`")
    expires: Day = Field(description="the last day, UTC, on which they are given tokens")
    reaches: dict[str, list[Text]] = Field(
        min_length=1, description="the resources that they may ask for, with the scopes"
    )
    unsafe_inner_networks: list[Text] = Field(
        default=[],
        description="networks, as 10.1.0.0/16, that may be asked for their documents although they are not public: "
        "for an enterprise's own",
    )
    ca_file: Text | None = Field(
        default=None,
        description="a PEM file of the certificates that are believed for their documents instead of the system's",
    )
