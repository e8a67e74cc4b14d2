"""Stages that turn a base model and a corpus into a specialised, served and scored model.

This package knows nothing of Kubernetes; where and when stages run is decided by ``astroctl``.
"""

__version__ = "0.1.0"
