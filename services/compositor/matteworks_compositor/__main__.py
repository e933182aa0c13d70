"""`python -m matteworks_compositor`."""

from matteworks_common.lifecycle import main
from matteworks_compositor.app import build
from matteworks_compositor.settings import CompositorSettings

if __name__ == "__main__":
    main("compositor", CompositorSettings, build)
