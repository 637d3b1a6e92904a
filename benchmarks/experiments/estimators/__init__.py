"""Real searches in two dimensions, measured and drawn for `docs/estimators.md`."""
