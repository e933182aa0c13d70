"""PyPI `RemoveBgPlus`: raw bytes as a file named `image_file`; base64 in a field of another name."""

import base64
import json
import os
import sys

import removebgplus
import removebgplus.removebg as module

VENDOR = "https://api.remove.bg"


class Rerouted:
    """`requests` as the module sees it: calls for the vendor go to the stack."""

    def __init__(self, requests):
        self._requests = requests

    def post(self, url, **options):
        assert url.startswith(VENDOR), url
        return self._requests.post(os.environ["STACK_URL"] + url.removeprefix(VENDOR), **options)

    def __getattr__(self, name):
        return getattr(self._requests, name)


module.requests = Rerouted(module.requests)
action, photo, output = sys.argv[1:]
client = removebgplus.RemoveBg(os.environ["STACK_KEY"])
facts = {}
try:
    client.remove_from_file(photo, output)
    with open(photo, "rb") as file:
        client.remove_from_base64(base64.b64encode(file.read()).decode(), output)
except module.APIError as error:
    facts["error"] = str(error)
    if action == "remove":
        raise
print(json.dumps(facts))
