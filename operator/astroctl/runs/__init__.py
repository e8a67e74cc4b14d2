"""Runs as the command line sees them: known, submitted, watched, gone on with."""
