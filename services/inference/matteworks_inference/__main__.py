"""`python -m matteworks_inference`: the service, configured by its environment."""

from matteworks_common.lifecycle import main
from matteworks_inference.app import build
from matteworks_inference.settings import InferenceSettings

if __name__ == "__main__":
    main("inference", InferenceSettings, build)
