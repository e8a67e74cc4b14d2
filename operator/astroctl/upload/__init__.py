"""Bring what a job names on this machine to the job's storage."""

from astroctl.upload.bring import bring_along
from astroctl.upload.plan import Item, LocalFile, UploadPlan, plan, rewrite

__all__ = ["Item", "LocalFile", "UploadPlan", "bring_along", "plan", "rewrite"]
