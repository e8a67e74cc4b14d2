"""Openly licensed texts that `astroctl data fetch` brings, verified by hash."""
