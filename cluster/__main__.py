"""``python -m cluster`` is the same as ``blinknet``."""

import sys

from cluster.cli import main

sys.exit(main())
