"""`python -m edgevision_benchmarks`: the same as `edgevision-benchmark`."""

from . import main

raise SystemExit(main())
