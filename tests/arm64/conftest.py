"""Nothing to collect: these are scripts, and `tests/test_arm64.py` runs them."""

collect_ignore_glob = ["*.py"]
