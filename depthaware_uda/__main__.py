"""``python -m depthaware_uda``."""

import sys

from depthaware_uda.cli import main

sys.exit(main())
