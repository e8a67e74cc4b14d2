"""Places that run jobs: each is a Ray cluster behind the same small protocol."""
