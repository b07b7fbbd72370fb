"""The demo: two real MCP servers, an agent whose job takes two hops, and the attacks that are refused."""
