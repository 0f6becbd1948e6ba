"""`python -m edgevision_device`: the same as `edgevision-device`."""

from ._cli import main

raise SystemExit(main())
