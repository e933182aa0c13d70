"""PyPI `removebg`: a file as multipart, `size=regular` unless told otherwise."""

import json
import os
import shutil
import sys

import removebg.removebg as module
import requests

module.API_ENDPOINT = os.environ["STACK_URL"] + "/v1.0/removebg"
action, photo, output = sys.argv[1:]
client = module.RemoveBg(os.environ["STACK_KEY"], "errors.log")
facts = {}
if action == "remove":
    client.remove_background_from_img_file(photo)
    shutil.move(photo + "_no_bg.png", output)
else:
    try:
        client.remove_background_from_img_file(photo)
    except requests.HTTPError as error:
        facts["error"] = str(error)
print(json.dumps(facts))
