"""Runs the auth service: `python -m matteworks_auth`."""

from matteworks_auth.app import build
from matteworks_auth.settings import AuthSettings
from matteworks_common.lifecycle import main

if __name__ == "__main__":
    main("auth", AuthSettings, build)
