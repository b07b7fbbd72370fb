"""Perhop: authorization for MCP with one token per hop.

Every token is short-lived and good for exactly one resource. The gateway checks that, and the MCP server checks it
again; the next hop gets a new, narrower token; every decision is made at run time and leaves a record.
"""

__version__ = "0.1.0"
