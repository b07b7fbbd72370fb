"""`listen.authz`: a socket, or an address of this machine with a secret; and which resources ask for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perhop.core.resource import DataPlane
from perhop.errors import SettingsError
from perhop.settings import render, show
from perhop.settings.authz import MAX_SOCKET_PATH
from perhop.settings.values import Address, AuthzAddress, AuthzSocket
from tests.support.configuration import load_example, write_example

SECRET = "0123456789abcdef0123456789abcdef"
LISTEN = "listen: {"
CALENDAR = "    owner: travel-team\n    tenant: acme\n"
BEHIND = (CALENDAR, f"{CALENDAR}    data_plane: forward_auth\n")


def _listening(*pairs: str) -> tuple[str, str]:
    return LISTEN, LISTEN + "".join(f"{pair}, " for pair in pairs)


def test_without_it_nobody_is_answered(tmp_path: Path) -> None:
    """It is off, and every resource is carried by our own gateway."""
    settings = load_example(tmp_path)
    assert settings.listen.authz is None
    assert {each.data_plane for each in settings.registry.resources.values()} == {DataPlane.GATEWAY}


def test_a_socket_lies_beside_the_file(tmp_path: Path) -> None:
    """A relative path counts from the folder of the file."""
    settings = load_example(tmp_path, _listening('authz: "unix:a.sock"'), BEHIND)
    assert settings.listen.authz == AuthzSocket(tmp_path / "a.sock")
    assert settings.registry.resources["calendar"].data_plane is DataPlane.FORWARD_AUTH


def test_an_address_comes_with_a_secret(tmp_path: Path) -> None:
    """Written down or in a file; it is not shown."""
    (tmp_path / "proxy.secret").write_text(f"{SECRET}\n", encoding="utf-8")
    for given in (f"authz_secret: {SECRET}", "authz_secret_file: proxy.secret"):
        settings = load_example(tmp_path, _listening("authz: 127.0.0.1:8423", given), BEHIND)
        authz = settings.listen.authz
        assert isinstance(authz, AuthzAddress)
        assert (authz.address, authz.secret.reveal()) == (Address("127.0.0.1", 8423), SECRET)
        assert SECRET not in render(show(tmp_path / "perhop.yaml", {}))
        assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("pairs", "problem"),
    [
        (("authz: 127.0.0.1:8423",), "`listen.authz` at an address needs `authz_secret` or `authz_secret_file`"),
        (("authz: 127.0.0.1:8423", f"authz_secret: {SECRET}", "authz_secret_file: x"), "one of them"),
        (("authz: 127.0.0.1:8423", "authz_secret: short"), "shorter than 32 characters"),
        (("authz: 127.0.0.1:8423", "authz_secret_file: missing"), "cannot be read"),
        (("authz: 0.0.0.0:8423", f"authz_secret: {SECRET}"), "`listen.authz` is not on this machine"),
        (("authz: 127.0.0.1:8420", f"authz_secret: {SECRET}"), "`listen.authz` and `listen.traffic` are the same"),
        (("authz: localhost", f"authz_secret: {SECRET}"), "`listen.authz` is not an address"),
        (('authz: "unix:"',), "`listen.authz` names no path"),
        ((f'authz: "unix:/{"a" * MAX_SOCKET_PATH}"',), "`listen.authz` names no path of at most 100 bytes"),
        (('authz: "unix:a.sock"', f"authz_secret: {SECRET}"), "goes with `listen.authz` as HOST:PORT only"),
        ((f"authz_secret: {SECRET}",), "goes with `listen.authz` as HOST:PORT only"),
    ],
)
def test_a_listener_that_would_answer_anybody_is_refused(tmp_path: Path, pairs: tuple[str, ...], problem: str) -> None:
    """Neither without a secret, nor with a weak one, nor to other machines."""
    with pytest.raises(SettingsError) as refusal:
        load_example(tmp_path, _listening(*pairs))
    assert problem in refusal.value.problem
    assert SECRET not in refusal.value.problem


def test_a_resource_behind_another_proxy_needs_somewhere_to_ask(tmp_path: Path) -> None:
    """Without the listener, and without a server to forward to, such a resource is refused."""
    with pytest.raises(SettingsError, match="to ask at"):
        load_example(tmp_path, BEHIND)
    upstream = (
        "    upstream:\n      url: http://127.0.0.1:9001/mcp\n      resource: http://127.0.0.1:9001/mcp\n"
        "      credential: {kind: exchange}\n"
    )
    with pytest.raises(SettingsError, match="has no `upstream` with a `url`"):
        load_example(tmp_path, _listening('authz: "unix:a.sock"'), BEHIND, (upstream, ""))


def test_two_resources_at_one_path_are_refused_whatever_their_hosts(tmp_path: Path) -> None:
    """Both would be described at the same place."""
    write_example(tmp_path)
    rooms = ("uri: http://127.0.0.1:8420/mcp/rooms", "uri: https://rooms.example.com/mcp/calendar")
    with pytest.raises(SettingsError, match="has the path of"):
        load_example(tmp_path, rooms)
