"""Trackers: tools that show a run's numbers while it trains, one per file."""
