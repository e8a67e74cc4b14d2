"""Serving models from the command line: deploy them, know their URLs and keys, ask them."""
