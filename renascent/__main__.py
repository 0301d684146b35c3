"""`python -m renascent` is the command `renascent`."""

import sys

from renascent.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
