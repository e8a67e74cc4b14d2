"""Why a job waits or failed: causes read from what the cluster's own parts say."""
