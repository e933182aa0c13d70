"""The Envoy builder, imported without the warning that its library causes.

`envoy-data-plane` declares validators in a way that pydantic deprecates; every warning is an error here.
"""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from matteworks_deploy.envoy.bootstrap import envoy_json, validation_problem
    from matteworks_deploy.envoy.local_replies import FILE_TOO_LARGE, LOCAL_REPLIES

__all__ = [
    "FILE_TOO_LARGE",
    "LOCAL_REPLIES",
    "envoy_json",
    "validation_problem",
]
