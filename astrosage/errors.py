"""The one error root of the project.

Every failure that a user can cause is an :class:`AstroError`: a message that names the field or
file and what was found, a hint that says what to do next, and an exit code per family. The type
also says whether trying again can help (``retryable``), which the driver and the operator obey.
"""

from __future__ import annotations


class AstroError(Exception):
    """A failure with a message for people, a hint for mending it and an exit code.

    Args:
        message: What is wrong, naming the field or file and what was found.
        hint: What is allowed or what to do next; empty where nothing can be said.
    """

    exit_code = 1
    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type[AstroError], tuple[str, str]]:
        # Errors cross process borders (Ray workers to driver) by pickling; keep both parts.
        return (type(self), (self.message, self.hint))


class SpecError(AstroError):
    """The run file or the command line asks for something that cannot be."""

    exit_code = 2


class NotFoundError(AstroError):
    """A run, stage, file or model that does not exist."""

    exit_code = 3


class ConflictError(AstroError):
    """Something of that name, or on that port, is there already."""

    exit_code = 4


class ClusterError(AstroError):
    """A Ray cluster or API that cannot be reached or refuses; often passes by itself."""

    exit_code = 5
    retryable = True


class CapacityError(ClusterError):
    """The cluster is too small for the job; waiting does not help."""

    retryable = False


class DataError(AstroError):
    """Texts, chats or questions that cannot be used as they are."""

    exit_code = 6


class TrainingError(AstroError):
    """Training cannot go on: NaN loss, a checkpoint that does not fit, a broken export."""

    exit_code = 7


class StorageError(AstroError):
    """The run's storage cannot be read or written, or is full."""

    exit_code = 5


class Interrupted(AstroError):
    """Stopped on request; the run can be resumed."""

    exit_code = 130


FAMILIES: dict[str, type[AstroError]] = {
    cls.__name__: cls
    for cls in (
        AstroError,
        SpecError,
        NotFoundError,
        ConflictError,
        ClusterError,
        CapacityError,
        DataError,
        TrainingError,
        StorageError,
        Interrupted,
    )
}


def to_dict(error: BaseException) -> dict[str, object]:
    """The error as plain data for progress.json; anything foreign becomes family ``AstroError``."""
    if isinstance(error, AstroError):
        return {
            "type": type(error).__name__,
            "message": error.message,
            "hint": error.hint,
            "exitCode": error.exit_code,
            "retryable": error.retryable,
        }
    return {
        "type": type(error).__name__,
        "message": f"{type(error).__name__}: {error}",
        "hint": "the full traceback is in the stage's log (`astroctl logs`)",
        "exitCode": 1,
        "retryable": True,
    }
