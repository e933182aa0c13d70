"""Run the console."""

from matteworks_common.http_lifecycle import main
from matteworks_console.app import build
from matteworks_console.settings import ConsoleSettings

if __name__ == "__main__":
    main("console", ConsoleSettings, build)
