"""The gateway: a streaming reverse proxy for MCP that decides on every message. `pipeline.py` is its whole way.

A resource's `uri` is answered here; its server sees only what was permitted, with a token of its own.
"""
