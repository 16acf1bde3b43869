"""`python -m phenolip.cli`, for where the console script is not on the path."""

from phenolip.cli import main

raise SystemExit(main())
