"""Log lines of several processes in one stream, each with the name of its process in front."""

from __future__ import annotations

from typing import TextIO

_NAME_WIDTH = 12


class LogStream:
    """Writes `name | line`. When the reader has gone away it stops writing and raises nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._has_reader = True

    def write(self, name: str, line: str) -> None:
        """One line of the process `name`."""
        self.say(f"{name:{_NAME_WIDTH}} | {line}")

    def say(self, line: str) -> None:
        """One line as it is."""
        if not self._has_reader:
            return
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            self._has_reader = False
