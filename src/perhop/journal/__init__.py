"""The journal: one record per event, in an RFC 9162 tree, with signed checkpoints and queries for an incident."""
