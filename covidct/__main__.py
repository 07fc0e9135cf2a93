"""``python -m covidct`` is ``covidct``."""

from covidct.cli import main

if __name__ == "__main__":
    main()
