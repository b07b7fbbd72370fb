"""RFC and MCP rules as pure functions, one subject a file. No I/O, no clock, no framework."""
