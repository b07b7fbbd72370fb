"""The command line: one file per command group. Data on stdout, talk on stderr, exit codes that programs can use.

A command imports what it works with when it runs: `perhop --help`, and every mistyped line, answer at once.
"""

import sys


def main() -> None:
    """The entry point. The libraries install without what the commands need."""
    try:
        from perhop.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "perhop":
            raise
        remedy = "run `pip install '/path/to/perhop[server]'`, from your checkout"
        sys.stderr.write(f"error: the command `perhop` needs `{error.name}`\n  {remedy}\n")
        sys.exit(1)
    run()
