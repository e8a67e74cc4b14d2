"""``python -m astroctl``."""

from astroctl.cli import main

if __name__ == "__main__":
    main()
