"""The command line: one file per command group. Data on stdout, talk on stderr, exit codes that programs can use."""
