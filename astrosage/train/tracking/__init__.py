"""Where a training's metrics go besides metrics.jsonl: one module for each place."""
