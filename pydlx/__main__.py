"""``python -m pydlx``."""

import sys

from pydlx.cli import main

sys.exit(main())
