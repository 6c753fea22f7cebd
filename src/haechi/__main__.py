"""`python -m haechi` is the command `haechi`; the supervisor starts the roles this way."""

import sys

from haechi.cli import main

sys.exit(main())
