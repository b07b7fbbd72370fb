"""TLS towards an upstream: whose certificates are believed. The names in them are always checked."""

from __future__ import annotations

import ssl


def tls_trusting(ca_certificates: str) -> ssl.SSLContext:
    """A client's TLS that believes these certificates, and not the system's."""
    return ssl.create_default_context(cadata=ca_certificates)
