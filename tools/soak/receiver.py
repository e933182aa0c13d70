"""The customer's end of the webhooks: checks each, refuses some the first time, and counts."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from matteworks_client.webhooks import WebhookForged, verify

# Every so many messages one is refused at first, so that repeats are a part of the soak.
_REFUSED_EACH = 10


class Receiver:
    """Listens on loopback. `ids` are the message ids that were accepted, by type and subject of the event."""

    def __init__(self) -> None:
        self.secrets: list[str] = []
        self.ids: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.accepted: Counter[str] = Counter()
        self.forged_count = 0
        self.refused: set[str] = set()
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.judge(body, dict(self.headers.items())))
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def judge(self, body: bytes, headers: dict[str, str]) -> int:
        """The status for a message."""
        with self._lock:
            try:
                event = verify(body, headers, self.secrets)
            except WebhookForged:
                self.forged_count += 1
                return 400
            seen_count = sum(self.accepted.values()) + len(self.refused)
            if seen_count % _REFUSED_EACH == 0 and event.message_id not in self.refused:
                self.refused.add(event.message_id)
                return 503
            subject = str(event.data.get("id") or event.data.get("batch_id"))
            self.ids[event.type, subject].add(event.message_id)
            self.accepted[event.message_id] += 1
            return 204

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
