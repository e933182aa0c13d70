"""PyPI `removebg-cli`, through its own command line."""

import contextlib
import io
import json
import os
import re
import sys

os.environ["REMOVE_BG_API_KEY"] = os.environ["STACK_KEY"]
import removebg_cli
from rich.console import Console

VENDOR = "https://api.remove.bg"


class Rerouted:
    """`requests` as the module sees it: calls for the vendor go to the stack."""

    def __init__(self, requests):
        self._requests = requests

    def get(self, url, **options):
        return self._requests.get(url.replace(VENDOR, os.environ["STACK_URL"]), **options)

    def __getattr__(self, name):
        return getattr(self._requests, name)


removebg_cli.requests = Rerouted(removebg_cli.requests)
removebg_cli.API_URL = os.environ["STACK_URL"] + "/v1.0/removebg"
said = io.StringIO()
removebg_cli.console = Console(file=said, width=200)
action, photo, output = sys.argv[1:]
sys.argv = (
    ["removebg", "--account"] if action == "account" else ["removebg", photo, "-o", output, "-s", "full"]
)
with contextlib.redirect_stdout(said):
    try:
        removebg_cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
text = said.getvalue()
if action == "error":
    assert code == 1, text
    facts = {"error": text}
elif action == "account":
    assert not code, text
    facts = {"credits": re.search(r"Credits:\s*([\d.]+)", text)[1]}
else:
    assert not code, text
    assert "1 credits" in text, text
    facts = {}
print(json.dumps(facts))
