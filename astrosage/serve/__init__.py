"""Serving: engines, the OpenAI-compatible application and what it needs."""
