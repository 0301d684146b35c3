"""`python -m renascent` is the command `renascent`."""

import sys

from renascent.cli import main

if __name__ == "__main__":
    sys.exit(main())
