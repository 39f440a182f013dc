"""``python -m workbench`` is the command ``workbench``, for where the latter is not on the path."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
