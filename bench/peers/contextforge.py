"""ContextForge before the server: its own tokens, its own database, everything that slows it down without need is off.

Its shipped rate limiter locks an account after a hundred calls a minute, so that is off as well.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import OctKey

from bench.installation import a_call
from bench.load import Ask
from bench.peers.environment import bin_of
from bench.processes import SUBJECT_CORE, on_core
from tests.support.processes import LOOPBACK, Running, free_port

SETUP = (
    "SQLite, its own HS256 tokens, memory cache; rate limits, console, plugins, metrics and logs off; "
    "one worker, MCP 2025-11-25"
)
_ADMIN, _REVISION, _TOKEN_SECONDS = "bench@example.com", "2025-11-25", 7200
_OFF = (
    "RATE_LIMITING_ENABLED",
    "RATE_LIMIT_LOCKOUT_ENABLED",
    "PLUGINS_ENABLED",
    "MCPGATEWAY_UI_ENABLED",
    "OBSERVABILITY_ENABLED",
    "STRUCTURED_LOGGING_ENABLED",
    "DB_METRICS_RECORDING_ENABLED",
    "METRICS_AGGREGATION_ENABLED",
    "LOG_REQUESTS",
    "SECURITY_LOGGING_ENABLED",
    "ADMIN_REQUIRE_PASSWORD_CHANGE_ON_BOOTSTRAP",
    "DETECT_DEFAULT_PASSWORD_ON_LOGIN",
)


@contextmanager
def running(
    folder: Path, server: str, tell: Callable[[str], None]
) -> Iterator[tuple[Running, Callable[[], Ask], Callable[[], Ask]]]:
    """ContextForge before this server, on the subjects' core; and how it is asked, rightly and with a wrong token."""
    folder.mkdir(parents=True)
    port, key = free_port(), secrets.token_urlsafe(48)
    environment = {
        "DATABASE_URL": f"sqlite:///{folder}/mcp.db",
        "JWT_SECRET_KEY": key,
        "AUTH_ENCRYPTION_SECRET": secrets.token_urlsafe(48),
        "BASIC_AUTH_PASSWORD": secrets.token_urlsafe(24),
        "PLATFORM_ADMIN_EMAIL": _ADMIN,
        "PLATFORM_ADMIN_PASSWORD": f"{secrets.token_urlsafe(24)}-Aa1!",
        "DEFAULT_USER_PASSWORD": f"{secrets.token_urlsafe(24)}-Aa1!",
        "MCPGATEWAY_ADMIN_API_ENABLED": "true",
        "SSRF_ALLOW_LOCALHOST": "true",
        "CACHE_TYPE": "memory",
        "LOG_LEVEL": "ERROR",
        "HOME": str(folder),
        **dict.fromkeys(_OFF, "false"),
    }
    words = ["mcpgateway.main:app", "--host", LOOPBACK, "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    command = [str(bin_of("contextforge", tell) / "uvicorn"), *words, "--no-access-log", "--log-level", "error"]
    with on_core(SUBJECT_CORE, command, ports=[port], environment=environment, folder=folder, within=180) as process:
        origin, token = f"http://{LOOPBACK}:{port}", _token(key)
        tool = _register(origin, token, server)
        url = f"{origin}{tool[0]}"

        def ask(token: str) -> Ask:
            return a_call(url, tokens=[token], era=_REVISION, tool=tool[1])

        yield process, lambda: ask(token), lambda: ask(_token(secrets.token_urlsafe(48)))


def _token(key: str) -> str:
    """As its own command for tokens makes them, for its administrator."""
    now = int(time.time())
    about = {"email": _ADMIN, "full_name": "bench", "is_admin": True, "auth_provider": "local"}
    names = {"iss": "mcpgateway", "aud": "mcpgateway-api", "sub": _ADMIN, "jti": secrets.token_hex(16)}
    claims = {**names, "iat": now, "exp": now + _TOKEN_SECONDS, "user": about, "teams": None}
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(key))


def _register(origin: str, token: str, server: str) -> tuple[str, str]:
    """Tell it of the server behind; the path at which its tools are called, and the name that it gives to `echo`."""
    with httpx2.Client(base_url=origin, headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
        wanted = {"name": "bench", "url": server, "transport": "STREAMABLEHTTP"}
        _told(client.post("/gateways", json=wanted))
        tools: list[dict[str, Any]] = _told(client.get("/tools"))
        (echo,) = (tool for tool in tools if str(tool["name"]).endswith("echo"))
        server_id = _told(client.post("/servers", json={"server": {"name": "b", "associated_tools": [echo["id"]]}}))[
            "id"
        ]
    return f"/servers/{server_id}/mcp", str(echo["name"])


def _told(response: httpx2.Response) -> Any:
    if response.is_error:
        raise RuntimeError(f"ContextForge answered {response.status_code}: {response.text[:500]}")
    return response.json()
