"""How a command ends when it cannot do what it was asked: one sentence and an exit code."""

from __future__ import annotations

# Something that the caller must change before it can work.
EXIT_USAGE = 2
# The work was tried and failed.
EXIT_FAILED = 1


class CommandFailed(Exception):
    """Ends a command. The message is one sentence for a person, with the remedy."""

    def __init__(self, message: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
