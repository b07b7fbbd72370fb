"""Debian's nginx with `proxy_pass`, no check at all: the floor of what stands before a server."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import SUBJECT_CORE, on_core
from scripts.fetch_debian import environment, nginx
from tests.support.processes import LOOPBACK, Running, free_port

SETUP = "`proxy_pass`, kept connections, no access log, no check"

_CONF = """\
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    client_body_buffer_size 256k;
    proxy_buffers 16 32k;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    upstream behind {{ server {behind}; keepalive 64; keepalive_requests 1000000000; }}
    server {{
        listen {listen};
        location / {{ proxy_pass http://behind; }}
    }}
}}
"""


@contextmanager
def running(folder: Path, server: str) -> Iterator[tuple[Running, str]]:
    """nginx before this server, on the subjects' core; and its URL, without a path."""
    folder.mkdir(parents=True)
    listen = f"{LOOPBACK}:{free_port()}"
    user = "user root;\n" if os.getuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(
        _CONF.format(user=user, folder=folder, behind=urlsplit(server).netloc, listen=listen), encoding="utf-8"
    )
    command = [str(nginx()), "-p", str(folder), "-c", str(conf), "-e", "stderr", "-g", "daemon off;"]
    with on_core(SUBJECT_CORE, command, ports=[int(listen.rpartition(":")[2])], environment=environment()) as process:
        yield process, f"http://{listen}"


def version() -> str:
    """As it tells it."""
    said = subprocess.run([str(nginx()), "-v"], capture_output=True, text=True, check=False, env=environment()).stderr
    found = re.search(r"nginx/(\S+)", said)
    return found[1] if found else "unknown"
