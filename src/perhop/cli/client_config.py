"""`perhop client-config`: what a client's own configuration file must say to reach a resource and sign people in."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.client_formats import FORMATS, ClientFormat, Syntax, as_json, command_line, fill
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import emit_json, emit_text, say
from perhop.core.resource import SenderConstraint
from perhop.errors import NotFound, RedirectRefused, SettingsError

if TYPE_CHECKING:
    from perhop.core.client import Client
    from perhop.core.resource import Resource
    from perhop.settings import Settings

For = StrEnum("For", [(name, name) for name in FORMATS])  # type: ignore[misc]  # the names are the table's
"""The clients whose files are known."""

FIRST_DAYS = 180
"""How long a client lives that is proposed here."""


def client_config(
    wanted: Annotated[For, typer.Option("--for", help="The client program.")],
    resource: Annotated[str, typer.Option("--resource", metavar="NAME", help="The resource that it shall reach.")],
    client: Annotated[
        str | None,
        typer.Option(
            "--client", metavar="ID", help="The public client that it is in perhop.yaml (default: the one that fits)."
        ),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Print what a client's configuration file must say to reach a resource. Nothing of it is secret."""
    settings = load_settings(config)
    described = settings.registry.resources.get(resource)
    if described is None:
        raise NotFound(f"the configuration defines no resource `{resource}`", advice="run `perhop resource list`")
    form = FORMATS[wanted]
    chosen = _choose(settings, form, described, client)
    values = _values(settings, form, described, chosen)
    content = _render(form, values)
    command = command_line(form.command, values)
    notes = [*form.notes, *_notes_on(settings, form, described, chosen)]
    if as_json:
        emit_json(
            {
                "for": wanted.value,
                "resource": described.name,
                "client": None if chosen is None else chosen.id,
                "file": form.file,
                "syntax": form.syntax.value,
                "content": content,
                "command": command,
                "notes": notes,
                "page": form.page,
            }
        )
        return
    emit_text(content)
    say(f"{form.title}: {form.file}")
    if command:
        say(f"  or: {command}")
    for note in notes:
        say(f"  {note}")
    say(f"  {form.page}")


def _notes_on(settings: Settings, form: ClientFormat, resource: Resource, client: Client | None) -> Iterator[str]:
    """What the program must be able to do here, and may not be; and how one comes in that takes no client id."""
    if form.callback is None:
        adopted = "then `perhop client list` names it, and `perhop client adopt ID` lets it in"
        if settings.admission.registers:
            yield f"it takes no client id, and registers itself when it first connects; {adopted}"
        else:
            yield (
                "it takes no client id, but would register itself, which nobody may here: it cannot sign in unless "
                f"perhop.yaml says `client_registration: adopted`; {adopted}"
            )
    if resource.must_be_bound or (client is not None and client.sender is SenderConstraint.DPOP):
        yield "the tokens are bound to a key (`sender: dpop`): a program that does not speak DPoP gets none"


def _choose(settings: Settings, form: ClientFormat, resource: Resource, client_id: str | None) -> Client | None:
    """The client that the program is; None if its file takes no client id.

    Raises: NotFound, SettingsError
    """
    if form.callback is None:
        if client_id is not None:
            raise SettingsError(f"{form.title} takes no client id", advice="leave `--client` out")
        return None
    clients = settings.registry.clients
    if client_id is None:
        fitting = [each for each in clients.values() if not _misfit(each, form, resource)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            names = ", ".join(f"`{each.id}`" for each in fitting)
            raise SettingsError(f"several clients could be {form.title}: {names}", advice="choose one with `--client`")
        problem = f"no client of the configuration can be {form.title} and reach `{resource.name}`"
        raise SettingsError(problem, advice=_remedy(form, resource))
    if client_id not in clients:
        raise NotFound(f"the configuration defines no client `{client_id}`", advice=_remedy(form, resource, client_id))
    chosen = clients[client_id]
    if misfit := _misfit(chosen, form, resource):
        # A client with a secret stays what it is: the program becomes another one.
        other = None if _keeps_secret(chosen) else client_id
        raise SettingsError(f"the client `{client_id}` {misfit}", advice=_remedy(form, resource, other))
    return chosen


def _misfit(client: Client, form: ClientFormat, resource: Resource) -> str:
    """Why this client cannot be that program; empty if it can."""
    from perhop.core.client import GrantType

    if _keeps_secret(client):
        return "is not public: a program that people run keeps no secret, so its method must be `none`"
    if GrantType.AUTHORIZATION_CODE not in client.grants:
        return "signs nobody in: it has no `redirect_uris`, or its `grants` leave `authorization_code` out"
    if _callback(client, form) is None:
        return f"has no redirect URI for {form.title}"
    if resource.name not in client.reaches:
        return f"does not reach `{resource.name}`"
    return ""


def _keeps_secret(client: Client) -> bool:
    from perhop.core.client import NoAuthentication

    return not isinstance(client.authentication, NoAuthentication)


def _callback(client: Client, form: ClientFormat) -> str | None:
    """The registered redirect URI that the program's own stands for."""
    from perhop.rules.redirect_uri import check_redirect_uri, is_loopback_only

    for registered in client.redirect_uris:
        if form is FORMATS["generic"]:
            if is_loopback_only([registered]):
                return registered
            continue
        try:
            check_redirect_uri(str(form.callback), [registered])
        except RedirectRefused:
            continue
        return registered
    return None


def _remedy(form: ClientFormat, resource: Resource, client_id: str | None = None) -> str:
    """What to put into perhop.yaml."""
    name = client_id or re.sub(r"[^a-z0-9]+", "-", form.title.lower())
    scopes = json.dumps(list(resource.scopes))
    expires = time.strftime("%Y-%m-%d", time.gmtime(time.time() + FIRST_DAYS * 86400))
    return (
        f"under `clients` of perhop.yaml:\n"
        f"    {json.dumps(name)}:\n"
        f"      owner: {resource.owner}\n"
        f"      purpose: {form.title} for people\n"
        f"      expires: {expires}\n"
        f"      authentication: {{method: none}}\n"
        f"      redirect_uris: [{json.dumps(form.callback)}]\n"
        f"      reaches: {{{resource.name}: {scopes}}}"
    )


def _values(settings: Settings, form: ClientFormat, resource: Resource, client: Client | None) -> Mapping[str, Any]:
    callback = None if client is None else _callback(client, form)
    port = re.search(r":(\d+)(?:/|$)", callback or "")
    return {
        # Some clients take only these characters in the name of a server.
        "name": re.sub(r"[^A-Za-z0-9_-]", "-", resource.name),
        "url": resource.uri,
        "issuer": settings.issuer,
        "client": None if client is None else client.id,
        "client_as_json": None if client is None else json.dumps({"client_id": client.id}, separators=(",", ":")),
        "port": int(port[1]) if port else None,
        "redirect_uri": callback,
        "scopes": None if client is None else list(client.reaches[resource.name]),
    }


def _render(form: ClientFormat, values: Mapping[str, Any]) -> str:
    content = fill(form.content, values)
    match form.syntax:
        case Syntax.JSON:
            return as_json(content)
        case Syntax.YAML:
            from perhop.settings import render

            return render(content)
