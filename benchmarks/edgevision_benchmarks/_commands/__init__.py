"""Commands that work on a finished report."""
