from __future__ import annotations

from hypothesis import settings

# Time limits an example are for quiet machines; a busy one must not fail a property.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
