"""`python -m avbench` and the console script."""

from avbench.cli import main

if __name__ == "__main__":
    main()
