"""PyPI `rembgpy`: base64 in a urlencoded body, every parameter sent, `roi` with numbers without unit."""

import base64
import json
import os
import sys

import rembgpy
import rembgpy.bg
import requests

rembgpy.bg.base_url = os.environ["STACK_URL"] + "/v1.0/removebg"
action, photo, output = sys.argv[1:]
client = rembgpy.RemBg(os.environ["STACK_KEY"], "errors.log")
with open(photo, "rb") as file:
    content = base64.b64encode(file.read()).decode()
facts = {}
try:
    client.remove_b64(content, size="full", nfn=output)
except requests.HTTPError as error:
    facts["error"] = str(error)
    if action == "remove":
        raise
print(json.dumps(facts))
