"""What an upload plan means, in words."""

from __future__ import annotations

from astroctl.upload.plan import UploadPlan
from astrosage.units import format_bytes


def notes(plan: UploadPlan) -> list[str]:
    """What would be uploaded, and what would not."""
    if not plan.items:
        return []
    count, size = len(plan.missing), format_bytes(plan.missing_size)
    total = f"{len(plan.files)} files, {format_bytes(plan.size)}"
    if plan.present is None:
        text = f"up to {count} files ({size}) would be uploaded to {plan.storage}"
    elif not count:
        text = f"nothing to upload: all {total} are in {plan.storage} already"
    else:
        text = f"{count} files ({size}) of {total} would be uploaded to {plan.storage}"
    return [text, *left_out(plan)]


def left_out(plan: UploadPlan) -> list[str]:
    """What lies next to uploaded files and is not taken, and what is taken though it is hidden."""
    found = []
    for item in plan.items:
        found += [f"not uploaded: {item.path}/{name} ({why})" for name, why in item.left_out]
        found += [f"{item.path}: {note}" for note in item.notes]
    return found
