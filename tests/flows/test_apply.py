"""Another configuration is put in force in a running server: whole or not at all, and no call is dropped for it."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from perhop.control.failure import RemoteFailure
from perhop.control.local import carry_out
from perhop.demo.run import staged
from perhop.demo.scene import Scene, Seen, call
from perhop.journal.query import Filter
from perhop.tokens.inspect import inspect_token
from tests.support.commands import clean_environment, make_installation, perhop, ports_of
from tests.support.installations import PERHOP
from tests.support.listening import listening
from tests.support.processes import answers

LIST_EVENTS = call("list_events", {"day": "monday"})
GOOD = Seen("200", None)
NO_LISTING = """
@id("test.no-listing") @reason("not now")
forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/list_events");
"""


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """The demo's installation, served in this process."""
    async with staged(tmp_path / "demo") as staged_scene:
        yield staged_scene


def rewrite(scene: Scene, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the configuration file."""
    path = scene.folder / "perhop.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


async def apply(scene: Scene, *, dry_run: bool = False) -> Mapping[str, Any]:
    """`perhop apply`, through the control socket."""
    return await carry_out(scene.settings, "apply", {"dry_run": dry_run})


async def try_list(scene: Scene, token: str | None = None) -> Seen:
    """List events with this token, or one that the client library has."""
    return await scene.at_gateway(
        "calendar", token or (await scene.token("trip-planner", "calendar")).reveal(), LIST_EVENTS
    )


async def test_a_policy_is_in_force_at_once_and_its_change_is_recorded(scene: Scene) -> None:
    """The token that listed a second ago lists no more, without having expired; the record names the version."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    assert await try_list(scene, token) == GOOD
    (scene.folder / "policies" / "more.cedar").write_text(NO_LISTING, encoding="utf-8")
    result = await apply(scene)
    assert result["changes"] == [{"kind": "policy", "name": "test.no-listing", "change": "added", "members": []}]
    assert await try_list(scene, token) == Seen("403 -31403", "policy.denied")
    began, changed = (each.part("about") for each in scene.reader.find(Filter(event="policy.changed")))
    assert (changed["change"], changed["policies"]) == ("in force", ["test.no-listing"])
    assert (changed["old"], changed["version"]) == (began["version"], result["policy_version"])
    assert changed["digest"].startswith(changed["version"])
    refused = list(scene.reader.find(Filter(event="call.refused", reason="policy.denied")))
    assert refused[-1].part("decision")["policy_version"] == result["policy_version"]


async def test_a_dry_run_tells_and_changes_nothing(scene: Scene) -> None:
    """What would change is told by name, never by value; calls go on as before."""
    (scene.folder / "policies" / "more.cedar").write_text(NO_LISTING, encoding="utf-8")
    rewrite(scene, lambda file: file["clients"]["trip-planner"].update(purpose="something that nobody should see"))
    result = await apply(scene, dry_run=True)
    assert [(each["name"], each["members"]) for each in result["changes"]] == [
        ("trip-planner", ["purpose"]),
        ("test.no-listing", []),
    ]
    assert "nobody should see" not in json.dumps(dict(result))
    assert await try_list(scene) == GOOD


async def test_a_setting_of_the_top_level_is_told_and_recorded(scene: Scene) -> None:
    """A switch that lets the public in, and a limit, are named by `apply`, before and after, and by the journal."""
    rewrite(scene, lambda file: file.update(client_registration="adopted", limits={"calls_per_agent": 7_000}))
    expected = [
        {"kind": "setting", "name": name, "change": "changed", "members": []}
        for name in ("client_registration", "limits.calls_per_agent")
    ]
    assert (await apply(scene, dry_run=True))["changes"] == expected
    assert (await apply(scene))["changes"] == expected
    loaded = [each.part("about") for each in scene.reader.find(Filter(event="config.loaded"))]
    assert loaded[-1]["changes"] == ["changed setting client_registration", "changed setting limits.calls_per_agent"]
    assert (await apply(scene))["changes"] == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("policies/more.cedar", '@id("half") permit (principal, action', "more.cedar"),
        ("policies/more.cedar", '@id("x") permit (principal, action, resource) when { context.nonsense };', "nonsense"),
        ("perhop.yaml", "issuer: [", "perhop.yaml"),
        ("perhop.yaml", "owners: {}\n", "issuer"),
    ],
)
async def test_what_is_wrong_is_refused_whole_and_the_old_stays(scene: Scene, file: str, text: str, said: str) -> None:
    """A half-written policy or file changes nothing, also not what was good in it; of policies the journal says why."""
    rewrite(scene, lambda document: document["clients"].pop("trip-planner"))
    (scene.folder / file).write_text(text, encoding="utf-8")
    with pytest.raises(RemoteFailure, match=said):
        await apply(scene)
    assert await try_list(scene) == GOOD
    _, *after = (each.part("about") for each in scene.reader.find(Filter(event="policy.changed")))
    if file == "perhop.yaml":
        assert after == []
    else:
        (refused,) = after
        assert (refused["change"], said in refused["why"], "version" in refused) == ("refused", True, False)


async def test_what_a_process_hangs_on_needs_a_restart(scene: Scene) -> None:
    """Another issuer or listener is refused with advice, and nothing else of the file is applied."""
    rewrite(scene, lambda file: file["listen"].update(ops="127.0.0.1:1"))
    with pytest.raises(RemoteFailure, match="`listen` is another one") as refused:
        await apply(scene)
    assert "stop and start" in refused.value.advice()


async def test_a_client_that_is_gone_is_refused_and_stays_disabled_when_put_back(scene: Scene) -> None:
    """Its live token dies at once; put back into the file it gets nothing until it is enabled by a command."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    kept: dict[str, Any] = {}
    rewrite(scene, lambda file: kept.update(file["clients"].pop("trip-planner")))
    result = await apply(scene)
    assert [(each["kind"], each["name"], each["change"]) for each in result["changes"]] == [
        ("client", "trip-planner", "removed")
    ]
    assert (await try_list(scene, token)).observed == "401"
    rewrite(scene, lambda file: file["clients"].update({"trip-planner": kept}))
    await apply(scene)
    assert (await try_list(scene, token)).observed == "401"
    form = [("grant_type", "client_credentials"), ("resource", scene.addresses.resource("calendar"))]
    assert await scene.at_sts("trip-planner", form) == Seen("401 invalid_client", "client.disabled")
    await carry_out(scene.settings, "standing.enable", {"kind": "client", "name": "trip-planner"})
    assert (await scene.at_sts("trip-planner", form)).observed == "200"


async def test_tokens_of_a_client_that_may_ask_for_less_are_revoked(scene: Scene) -> None:
    """What was issued under the wider reach is refused at once; a token of the narrower one is good."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    rewrite(scene, lambda file: file["clients"]["trip-planner"]["reaches"].update(calendar=["calendar:read"]))
    result = await apply(scene)
    assert result["revoked"] >= 1
    assert await try_list(scene, token) == Seen("401", "token.revoked")


def _begin_family(scene: Scene, name: str, resource: str, client: str) -> None:
    """A refresh family without any record of late, as one that a person began weeks ago."""
    uri, now = scene.addresses.resource(resource), int(time.time())
    family = (name, f"code-{name}", client, "user:x", uri, "", "", now - 9999, now + 9999)
    columns = "id, code_hash, client_id, subject, resource, scope, terms, began_at, expires_at"
    with closing(sqlite3.connect(scene.settings.database_path)) as database, database:
        database.execute(f"INSERT INTO refresh_family ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", family)


async def test_a_resource_that_is_gone_takes_its_own_tokens_and_families_along_and_no_others(scene: Scene) -> None:
    """A token that was tried at it, and the families of the resource that stays, live on; its own end and are told."""
    staying = (await scene.token("trip-planner", "calendar")).reveal()
    going = (await scene.token("facility-bot", "rooms")).reveal()
    assert (await scene.at_gateway("rooms", staying, LIST_EVENTS)).reason == "audience.mismatch"
    rooms = scene.settings.registry.resources["rooms"]
    _begin_family(scene, "stays", "calendar", "trip-planner")
    _begin_family(scene, "goes", "rooms", "trip-planner")

    def without_rooms(file: dict[str, Any]) -> None:
        del file["resources"]["rooms"], file["hops"]
        file["clients"]["rooms-server"]["serves"] = ["booking"]
        file["clients"]["facility-bot"]["reaches"].pop("rooms")

    rewrite(scene, without_rooms)
    result = await apply(scene)
    assert await try_list(scene, staying) == GOOD
    revoked = [record.part("about") for record in scene.reader.find(Filter(event="revocation"))]
    of_resources = [each for each in revoked if each["kind"] == "resource"]
    assert {each["value"] for each in of_resources} <= {rooms.uri, rooms.server_uri}
    jtis = {jti for each in of_resources for jti in each["tokens"]}
    assert inspect_token(going, now=0).claims["jti"] in jtis
    assert result["revoked"] >= len(jtis)
    with closing(sqlite3.connect(scene.settings.database_path)) as database:
        families = dict(database.execute("SELECT id, ended_at IS NOT NULL FROM refresh_family"))
    assert families == {"stays": 0, "goes": 1}


async def test_a_changed_upstream_is_tested_before_it_gets_a_call(scene: Scene) -> None:
    """One that does not answer gets none; the right one is known to enforce when the command returns."""
    right: dict[str, Any] = {}

    def elsewhere(file: dict[str, Any]) -> None:
        right.update(file["resources"]["calendar"]["upstream"])
        file["resources"]["calendar"]["upstream"] = {**right, "url": "http://127.0.0.1:9/mcp"}

    rewrite(scene, elsewhere)
    result = await apply(scene)
    assert result["changes"][0]["members"] == ["upstream.url"]
    assert await try_list(scene) == Seen("503 -31503", "upstream.open")
    rewrite(scene, lambda file: file["resources"]["calendar"].update(upstream=right))
    await apply(scene)
    assert await try_list(scene) == GOOD


async def test_a_standing_stream_ends_with_the_configuration_that_it_began_with(scene: Scene) -> None:
    """It says so in its last event, and may be opened anew."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    (scene.folder / "policies" / "more.cedar").write_text(NO_LISTING, encoding="utf-8")
    async with listening(scene, token, rpc_id=7) as stream:
        await apply(scene)
        last = await stream.last_event()
    assert (last["id"], last["error"]["code"]) == (7, -31401)


async def test_no_call_is_dropped_while_configurations_change(scene: Scene) -> None:
    """Callers who never pause see nothing but answers over five changes of policies, clients and resources."""
    token = (await scene.token("trip-planner", "calendar")).reveal()
    seen: list[str] = []
    is_over = False

    async def keep_calling() -> None:
        while not is_over:
            answer = await scene.post(scene.addresses.resource("calendar"), token, LIST_EVENTS)
            seen.append(str(answer.status_code))

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(keep_calling()) for _ in range(4)]
        for number in range(5):
            comment = f"// change {number}\n"
            (scene.folder / "policies" / "more.cedar").write_text(comment, encoding="utf-8")
            rewrite(scene, lambda file, n=number: file["resources"]["calendar"].update(tenant=f"tenant-{n % 2}"))  # type: ignore[misc]
            await apply(scene)
        is_over = True
    assert all(each.done() for each in callers)
    assert len(seen) > 10
    assert set(seen) == {"200"}


def test_the_command_and_the_signal_put_a_file_in_force(tmp_path: Path) -> None:
    """`perhop apply` prints what changed; SIGHUP does the same. Without a server only policies are compared."""
    folder = tmp_path / "installation"
    make_installation(folder)
    path = folder / "perhop.yaml"
    text = path.read_text(encoding="utf-8")
    (folder / "policies" / "more.cedar").write_text(NO_LISTING, encoding="utf-8")
    without = perhop("apply", "--dry-run", folder=folder)
    assert (without.code, "added   policy  test.no-listing" in without.out) == (0, True), without
    assert perhop("apply", folder=folder).out == without.out
    again = perhop("apply", folder=folder)
    assert (again.code, again.out) == (0, "no policy changes\n")
    assert "does not serve here, so the configuration was not compared" in again.err
    (folder / "policies" / "more.cedar").unlink()
    serving = subprocess.Popen(
        [PERHOP, "serve"], cwd=folder, stderr=subprocess.PIPE, env=clean_environment(), text=True
    )
    try:
        assert serving.stderr is not None
        while "health:" not in serving.stderr.readline():
            pass
        while not answers(ports_of(folder)[0]):
            pass
        path.write_text(text.replace("plans trips", "plans other trips"), encoding="utf-8")
        applied = perhop("apply", folder=folder)
        assert applied.code == 0, applied.err
        assert "changed  client  planner  purpose" in applied.out
        assert "in force: configuration" in applied.err
        path.write_text(text.replace("plans trips", "plans"), encoding="utf-8")
        serving.send_signal(signal.SIGHUP)
        while "in force:" not in serving.stderr.readline():
            pass
        assert perhop("apply", "--json", folder=folder).json["changes"] == []
        path.write_text("issuer: [", encoding="utf-8")
        serving.send_signal(signal.SIGHUP)
        while "nothing was applied:" not in serving.stderr.readline():
            pass
        assert perhop("--json", "apply", folder=folder).code == 2
    finally:
        serving.terminate()
        serving.communicate(timeout=20)
    assert serving.returncode == 0
