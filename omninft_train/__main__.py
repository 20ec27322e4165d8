"""`python -m omninft_train` and the console script."""

from omninft_train.cli import main

if __name__ == "__main__":
    main()
