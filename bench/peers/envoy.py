"""Envoy with `jwt_authn`: ES256, issuer and audience checked by a key that it holds; nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.peers.environment import bin_of
from bench.processes import SUBJECT_CORE, on_core
from tests.support.processes import LOOPBACK, Running, free_port

SETUP = "`jwt_authn`: ES256, issuer, audience; {cache}; one worker, no access log"
_TYPES = "type.googleapis.com/envoy.extensions"


@contextmanager
def running(
    folder: Path, server: str, *, jwks: str, issuer: str, audience: str, cache: bool, tell: Callable[[str], None]
) -> Iterator[tuple[Running, str]]:
    """Envoy before this server, on the subjects' core; and its URL, without a path."""
    folder.mkdir(parents=True)
    port = free_port()
    conf = folder / "envoy.json"
    conf.write_text(json.dumps(_configuration(port, server, jwks, issuer, audience, cache=cache)), encoding="utf-8")
    command = [str(bin_of("envoy", tell) / "envoy"), "-c", str(conf), "--concurrency", "1"]
    command += ["--use-dynamic-base-id", "--log-level", "error"]
    with on_core(SUBJECT_CORE, command, ports=[port]) as process:
        yield process, f"http://{LOOPBACK}:{port}"


def _configuration(port: int, server: str, jwks: str, issuer: str, audience: str, *, cache: bool) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "issuer": issuer,
        "audiences": [audience],
        "forward": True,
        "local_jwks": {"inline_string": jwks},
    }
    if cache:
        provider["jwt_cache_config"] = {"jwt_cache_size": 1000}
    authn = {
        "@type": f"{_TYPES}.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"perhop": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "perhop"}}],
    }
    router = {"@type": f"{_TYPES}.filters.http.router.v3.Router"}
    connection = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "behind", "timeout": "60s"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": authn},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    }
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": connection}
    behind = urlsplit(server)
    cluster = {
        "name": "behind",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "behind",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _at(behind.port or 80)}}]}],
        },
    }
    listener = {"name": "in", "address": _at(port), "filter_chains": [{"filters": [manager]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
