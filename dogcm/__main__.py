"""``python -m dogcm``: the command ``dogcm``."""

import sys

from dogcm.cli import main

if __name__ == "__main__":
    sys.exit(main())
