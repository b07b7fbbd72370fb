"""The incident drill: a theft in a large journal, a server that is killed, and proof of what the journal promises."""
