"""PyPI `pyclipdrop`: ClipDrop's API; the constructor takes the base URL."""

import json
import os
import sys

from pyclipdrop import ClipdropClient
from pyclipdrop.exceptions import APIRequestError

action, photo, output = sys.argv[1:]
client = ClipdropClient(api_key=os.environ["STACK_KEY"], base_url=os.environ["STACK_URL"])
facts = {}
try:
    if action == "cleanup":
        client.cleanup(photo, os.environ["MASK"], output_file=f"{output}.png")
    elif action == "uncrop":
        client.uncrop(photo, extend_left=40, extend_up=20, output_file=f"{output}.jpg")
        os.rename(f"{output}.jpg", f"{output}.png")
    elif action == "upscale":
        client.image_upscaling(os.environ["SMALL"], 96, 96, output_file=f"{output}.jpg")
        os.rename(f"{output}.jpg", f"{output}.png")
    else:
        client.remove_background(photo, output_file=f"{output}.png")
    os.rename(f"{output}.png", output)
except APIRequestError as error:
    facts["error"] = str(error)
    if action != "error":
        raise
print(json.dumps(facts))
