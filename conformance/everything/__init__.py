"""The fixtures that the conformance suite asks of a server: tools, prompts and resources under names that it fixes."""
