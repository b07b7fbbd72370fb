"""The nouns. Frozen dataclasses; standard library only; no I/O, no clock."""
