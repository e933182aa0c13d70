"""One stream of lines with the name of who said it in front."""

from __future__ import annotations

from typing import TextIO

_NAME_WIDTH = 12


class LogStream:
    """Writes `name | line`. A reader that went away silences it and changes nothing else."""

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
