"""Run the edge."""

from matteworks_common.http_lifecycle import main
from matteworks_edge.app import build
from matteworks_edge.settings import EdgeSettings

if __name__ == "__main__":
    main("edge", EdgeSettings, build)
