"""Serving: sockets, timeouts and health, around what `wiring` has built."""
