"""Client authentication: which client speaks, and the proof of it. One method a file; `authenticate` is the table."""
