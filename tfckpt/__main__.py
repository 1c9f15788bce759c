"""Entry point of `python -m tfckpt`."""

import sys

from .cli import main

sys.exit(main())
