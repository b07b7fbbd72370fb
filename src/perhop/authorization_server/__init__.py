"""The authorization server: OAuth 2.1 for MCP, tokens with exactly one audience, RFC 8693 exchange for each hop."""
