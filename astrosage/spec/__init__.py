"""The vocabulary: AstroJob, stages, cluster. Light imports only (pydantic and YAML)."""
