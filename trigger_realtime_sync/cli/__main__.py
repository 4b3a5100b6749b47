"""`python -m trigger_realtime_sync.cli`."""

import sys

from ._main import main

sys.exit(main())
