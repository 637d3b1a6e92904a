"""The report of a finished run, a page by itself: charts, previews and tables from its summary and metrics."""
