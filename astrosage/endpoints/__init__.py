"""Asking OpenAI-compatible services: patience, accounts, budgets, and answers that are kept."""
