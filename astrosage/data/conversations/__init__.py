"""Conversations as records hold them: their layouts, their messages, their reasoning."""
