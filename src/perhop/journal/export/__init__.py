"""Export: records as other programs read them. One format a file; where lines go, and how far it got, is in `feed`."""
