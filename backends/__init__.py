"""The backends that come with fedbbpt, loaded by entry point exactly as anybody's would be."""
