"""The operator: AstroJobs become RayJobs, pools get nodes."""
