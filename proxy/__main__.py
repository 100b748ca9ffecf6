"""`python -m proxy` is `penstock`."""

import sys

from proxy.cli import main

sys.exit(main())
