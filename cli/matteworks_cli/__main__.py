"""`python -m matteworks_cli` is `matteworks`."""

from matteworks_cli.main import run

if __name__ == "__main__":
    run()
