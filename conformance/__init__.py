"""The official MCP conformance suite, run on a server that Perhop guards and through the gateway in front of it."""
