"""Newcomers: clients that nobody wrote into the configuration, and how they come to be known."""
