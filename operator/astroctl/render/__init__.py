"""From the vocabulary to manifests: pure functions."""
