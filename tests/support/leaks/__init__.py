"""A leak scan over the whole test run: what is secret, where it must not be, and how it is looked for there."""
