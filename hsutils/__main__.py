"""What `python -m hsutils` runs."""

import sys

from hsutils.cli import main

if __name__ == "__main__":
    sys.exit(main())
