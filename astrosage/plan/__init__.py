"""Memory, time, and everything that can be checked before anything starts."""
