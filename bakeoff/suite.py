"""The contract's suite as a process: `python -m bakeoff.suite PARENT ARGUMENTS`, pytest that ends
with the process PARENT which started it."""

import sys

import pytest

from bakeoff.prctl import end_with


def main() -> None:
    """Runs pytest and exits with its code."""
    end_with(int(sys.argv.pop(1)))
    sys.exit(pytest.console_main())


if __name__ == "__main__":
    main()
