"""`python -m fedbbpt`."""

from fedbbpt.cli import main

main()
