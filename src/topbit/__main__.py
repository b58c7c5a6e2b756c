"""`python -m topbit` is the command `topbit`."""

import sys

from topbit.cli import main

sys.exit(main())
