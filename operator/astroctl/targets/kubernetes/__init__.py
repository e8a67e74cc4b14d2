"""Target ``kubernetes``: a job is an AstroJob object, its state is the object's status."""
