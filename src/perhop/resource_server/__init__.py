"""Perhop's resource-server library: the checks of the gateway, once more, inside an MCP server.

guard = Guard(resource="https://mcp.example.com/mcp", issuers=["https://auth.example.com"])
app = guard.asgi(app)
"""

from perhop.resource_server.asgi import current_subject_token, current_token
from perhop.resource_server.guard import Admitted, Guard
from perhop.resource_server.memory_replay import MemoryReplay
from perhop.resource_server.refusal import Challenge
from perhop.resource_server.replay import ReplayStore
from perhop.resource_server.server_records import ServerRecords
from perhop.resource_server.sqlite_replay import SqliteReplay

__all__ = [
    "Admitted",
    "Challenge",
    "Guard",
    "MemoryReplay",
    "ReplayStore",
    "ServerRecords",
    "SqliteReplay",
    "current_subject_token",
    "current_token",
]
