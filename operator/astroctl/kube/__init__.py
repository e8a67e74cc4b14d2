"""Kubernetes' API: one client, its errors, watches; no policy."""
