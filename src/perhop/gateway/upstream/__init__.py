"""Ways to an upstream, one a file."""
