"""``python -m neuropod_ope``."""

import sys

from neuropod_ope.cli import main

if __name__ == "__main__":
    sys.exit(main())
