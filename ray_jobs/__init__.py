"""Entry points that run inside a Ray cluster; thin, since the work is in ``astrosage``."""
