"""Attacks: one table, one runner, and a whole installation that they are tried on."""
