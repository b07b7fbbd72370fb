"""Storage: the SQLite files, and one file for each Protocol that a product or the journal declares."""
