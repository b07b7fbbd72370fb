"""Control: how commands change standing, in a running server or, when none runs, in the files under one lock."""
