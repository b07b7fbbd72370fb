"""Questions about access, asked by servers that enforce the answer themselves: read, judged, searched."""
