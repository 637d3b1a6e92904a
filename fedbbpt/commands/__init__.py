"""Groups of commands beside the ones in `cli`. Everything heavy is imported by the command that needs it."""
