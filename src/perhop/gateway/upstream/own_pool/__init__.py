"""Calls to an upstream over HTTP/1.1 through connections of our own: asyncio carries the octets, llhttp reads them."""
