"""Readers of the formats that texts come in, one module each; imported when they are needed."""
