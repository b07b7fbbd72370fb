"""Peers: other servers and proxies that are measured beside Perhop, each in an environment of its own."""
