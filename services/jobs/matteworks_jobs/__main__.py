"""Runs the service: `python -m matteworks_jobs`."""

from matteworks_common.lifecycle import main
from matteworks_jobs.app import build
from matteworks_jobs.settings import JobsSettings

if __name__ == "__main__":
    main("jobs", JobsSettings, build)
