"""Base models: where they come from and what is accepted."""
