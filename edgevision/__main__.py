"""`python -m edgevision`: the same as `edgevision`."""

from ._cli import main

raise SystemExit(main())
