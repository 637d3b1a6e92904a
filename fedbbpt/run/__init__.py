"""One training run: its config, metrics, checkpoints, cost and report in one folder."""
