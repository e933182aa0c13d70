"""PyPI `remove-bg-api`: asks for the account when it is made, and reads X-Credits-Charged with `int`."""

import json
import os
import sys

import remove_bg_api

module = sys.modules[remove_bg_api.RemoveBg.__module__]
module.API_URL = os.environ["STACK_URL"] + "/v1.0"
action, photo, output = sys.argv[1:]
facts = {}
try:
    client = remove_bg_api.RemoveBg(os.environ["STACK_KEY"])
    if action == "remove":
        # A preview costs 0.25, which this client's int() cannot read from anybody.
        before = client.account.balance()
        client.remove_bg_file(photo, out_path=output, size="full", raw=False)
        assert before - client.account.balance() == 1
    elif action == "account":
        facts = {
            "credits": client.account.get_balance_dict()["total"],
            "free": client.account.free_api_calls(),
        }
except module.Errors.ApiErrorCode403 as error:
    facts["error"] = f"403: {error}"
    if action != "error":
        raise
print(json.dumps(facts))
