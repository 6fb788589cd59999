"""``python -m pydlx.cli``."""

import sys

from pydlx.cli import main

sys.exit(main())
