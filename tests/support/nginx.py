"""Debian's nginx as a process of its own, with the configuration of `deploy/nginx` but for addresses and TLS."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from scripts.fetch_debian import environment, nginx
from tests.support.processes import started_beside
from tests.support.sources import ROOT

PERHOP_CONF = ROOT / "deploy" / "nginx" / "perhop.conf"
FIRST, AFTER = "    # --- calendar: the calls", "    # --- a no,"
TLS = (
    "    ssl_certificate     /etc/ssl/certs/mcp.example.com.pem;\n",
    "    ssl_certificate_key /etc/ssl/private/mcp.example.com.key;\n",
)

_MAIN = """\
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/perhop.conf;
}}
"""


def perhop_conf(*, listen: str, authz: Path, traffic: str, server: str, more: Mapping[str, str] | None = None) -> str:
    """`perhop.conf` at these addresses, in clear text; `more` are further resources, name -> URL of the server."""
    text = PERHOP_CONF.read_text(encoding="utf-8")
    changes = {
        "unix:/run/perhop/authz.sock;": f"unix:{authz};",
        "listen 443 ssl;": f"listen {listen};",
        "server_name mcp.example.com;": "server_name 127.0.0.1;",
        "proxy_pass http://127.0.0.1:8420;": f"proxy_pass http://{traffic};",
        **dict.fromkeys(TLS, ""),
    }
    for old, new in changes.items():
        assert text.count(old) == 1, f"perhop.conf does not hold `{old}` once"
        text = text.replace(old, new)
    before, _, rest = text.partition(FIRST)
    blocks, _, after = rest.partition(AFTER)
    blocks = FIRST + blocks
    servers = {"calendar": server, **(more or {})}
    return before + "".join(_blocks(blocks, name, url) for name, url in servers.items()) + AFTER + after


def _blocks(blocks: str, name: str, url: str) -> str:
    """The three locations of the calendar, for this resource."""
    place = "proxy_pass http://127.0.0.1:9001/mcp;"
    assert blocks.count(place) == 1
    return blocks.replace(place, f"proxy_pass {url};").replace("calendar", name)


def write_conf(folder: Path, conf: str) -> Path:
    """Everything that nginx reads, in this folder; returns its main file."""
    folder.mkdir(parents=True)
    (folder / "perhop.conf").write_text(conf, encoding="utf-8")
    main = folder / "nginx.conf"
    # Its worker must be able to open our socket, as the operator sees to by group.
    user = "user root;\n" if os.getuid() == 0 else ""
    main.write_text(_MAIN.format(folder=folder, user=user), encoding="utf-8")
    return main


def command(main: Path, *more: str) -> Sequence[str]:
    """How nginx is run with this file, in the foreground."""
    return [str(nginx()), "-p", str(main.parent), "-c", str(main), "-e", "stderr", "-g", "daemon off;", *more]


@asynccontextmanager
async def nginx_with(folder: Path, conf: str, *, port: int) -> AsyncIterator[None]:
    """Run nginx with this configuration while the block runs."""
    main = write_conf(folder, conf)
    async with started_beside(command(main), ports=[port], environment=environment()):
        yield
