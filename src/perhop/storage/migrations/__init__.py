"""Migrations of `perhop.db`, run by `perhop init`."""
