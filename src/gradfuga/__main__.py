"""Let ``python -m gradfuga`` be the command ``gradfuga``."""

from __future__ import annotations

from gradfuga.cli import main

if __name__ == "__main__":
    main()
