"""Benchmarks: what a call costs, beside peers, and what grows with what. `make bench` runs them."""
