"""Tokens on the wire: keys, a strict front parser, minting and verifying. The only user of a JOSE library."""
