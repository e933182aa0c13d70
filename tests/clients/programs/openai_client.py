"""PyPI `openai`: the constructor takes the base URL."""

import base64
import json
import os
import sys
import urllib.request

from openai import APIError, OpenAI

action, photo, output = sys.argv[1:]
client = OpenAI(api_key=os.environ["STACK_KEY"], base_url=os.environ["STACK_URL"] + "/openai/v1")
facts = {}
try:
    with open(photo, "rb") as image, open(os.environ["MASK"], "rb") as mask:
        if action == "url":
            answer = client.images.edit(
                image=image,
                mask=mask,
                prompt="erase",
                model="dall-e-2",
                n=1,
                size="512x512",
                response_format="url",
            )
            with urllib.request.urlopen(answer.data[0].url) as file, open(output, "wb") as target:  # noqa: S310
                target.write(file.read())
        else:
            answer = client.images.edit(
                image=[image],
                mask=mask,
                prompt=os.environ["PROMPT"],
                model=os.environ["MODEL"],
                background="opaque",
                output_format="png",
                size="auto",
            )
            with open(output, "wb") as target:
                target.write(base64.b64decode(answer.data[0].b64_json))
        facts["created"] = answer.created
except APIError as error:
    facts |= {
        "error": error.message,
        "kind": type(error).__name__,
        "code": error.code,
        "type": error.type,
        "param": error.param,
    }
    if action != "error":
        raise
print(json.dumps(facts))
