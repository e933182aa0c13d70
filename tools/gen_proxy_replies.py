"""Write what Envoy says by itself under each provider's paths, or with --check fail when it is stale.

The documents come from the providers' own modules; Envoy's configuration reads the file, because deploy does
not import the gateway.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from matteworks_deploy.envoy.local_replies import LOCAL_REPLIES
from matteworks_edge.errors import ErrorAnswer
from matteworks_edge.providers import PROVIDERS, owned_roots

TARGET = (
    Path(__file__).resolve().parent.parent / "deploy" / "matteworks_deploy" / "envoy" / "proxy_replies.json"
)


# Envoy puts the request's id in its place.
REQUEST_ID = "%REQ(X-REQUEST-ID)%"


def replies() -> str:
    """By provider: the roots of its paths, and the bodies by status that differ from the usual document."""
    described = []
    taken: set[str] = set()
    for dialect in PROVIDERS:
        own = owned_roots(dialect)
        roots_told = [root for root in own if root not in taken]
        taken.update(own)
        bodies = {}
        for reply in LOCAL_REPLIES:
            codes = dialect.proxy_codes
            code = codes.get(reply.status, codes.get(0, reply.code))
            told = ({"title": reply.title, "code": code},)
            document = dialect.error_document(ErrorAnswer(reply.status, told, {}, REQUEST_ID))
            body = json.dumps(document, separators=(",", ":"))
            if body != reply.body():
                bodies[str(reply.status)] = body
        if bodies:
            described.append({"name": dialect.name, "paths": roots_told, "bodies": bodies})
    return json.dumps(described, indent=1) + "\n"


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail instead of writing")
    wanted = replies()
    if not parser.parse_args().check:
        TARGET.write_text(wanted)
    elif not TARGET.is_file() or TARGET.read_text() != wanted:
        print(f"{TARGET.name} is not current; run: python tools/gen_proxy_replies.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
