"""The pages of the console, one a file; the template of a page bears its name."""
