"""The run directory: layout, storage, manifests, metrics, logs."""
