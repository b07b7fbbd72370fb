"""The grants, one a file: each says what a client may have, and leaves minting and recording to `issue`."""
