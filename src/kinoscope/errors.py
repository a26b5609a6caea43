"""The one error that bad input gets.

Every message says four things: where (a file, a field), what was found (the value) and what to do
about it (the remedy). The command line prints it without a traceback and exits with 1.
"""

from __future__ import annotations

from pathlib import Path


class KinoscopeError(Exception):
    """Bad input, told in one sentence: file, field, value, remedy.

    >>> print(KinoscopeError("fps must be positive", file="a.json", field="fps", value=-1,
    ...                      remedy="give the frame rate of the video"))
    a.json: fps: fps must be positive (found -1). Remedy: give the frame rate of the video.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        field: str | None = None,
        value: object = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.file, self.field, self.value, self.remedy = problem, file, field, value, remedy
        where = "".join(f"{part}: " for part in (file, field) if part is not None)
        found = "" if value is None else f" (found {value!r})"
        advice = "" if remedy is None else f" Remedy: {remedy.rstrip('.')}."
        super().__init__(f"{where}{problem.rstrip('.')}{found}.{advice}")


class Interrupted(KinoscopeError):
    """A run was told to stop (SIGTERM, SIGUSR1) and has saved itself."""
