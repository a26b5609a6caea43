"""`python -m kinoscope` is the command line."""

import sys

from kinoscope.cli import main

if __name__ == "__main__":
    sys.exit(main())
