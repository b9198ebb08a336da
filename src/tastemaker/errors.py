"""Every error that tastemaker raises on purpose.

::

    TastemakerError                 one clear sentence: what is wrong, what was received, what to do
    ├── DataError                   the input is not a usable log or catalogue
    │   ├── UnreadableFile          missing, a folder, empty, truncated, not what its name says
    │   ├── ColumnProblem           a column is missing, ambiguous or of an unusable type
    │   │   └── TimesUndecided      nothing tells whether the day or the month comes first
    │   ├── NoPurchases             every row was dropped, or there was none
    │   ├── DatabaseProblem         a database or object store is away, refuses, or has nothing of what was asked
    │   ├── CatalogueMismatch       the log holds ids that the given catalogue lacks
    │   └── UnknownId               an id that the vocabulary does not hold
    ├── SettingProblem              a setting has a value that cannot work
    ├── TrainingFailed              the loss became NaN or infinite
    ├── TrainingInterrupted         the user stopped the training and did not ask to keep it
    ├── WorkersLost                 the workers of a part, or the head of a cluster, were lost; what was written is kept
    ├── ModelFolderProblem          a model folder cannot be read or written
    │   ├── FolderExists            the output folder is there already
    │   ├── DamagedModel            a file is missing, or its checksum differs
    │   ├── NewerFormat             the folder was written by a newer tastemaker
    │   └── TryLater                a version could not be copied or tried; nothing is known against it
    ├── RulesProblem                rules that cannot hold for a version of a model
    ├── RulesLost                   a model's rules cannot be read, and no good ones are known
    ├── NotServed                   a model, version or label that the server does not have
    ├── ServerBusy                  too many requests wait for the server's ranking threads
    ├── EventsProblem               the file of live events cannot be read or written
    │   ├── EventsFull              the disk has no room for further events
    │   └── KeyUsedOtherwise        an idempotency key came again with another content
    ├── StateProblem                what several hosts share in a database cannot be read, or not be changed now
    └── ServerProblem               the server cannot start: the port is taken, there is no model or no keys

The command line prints the message in one line and exits with 1. Three more never reach a caller: ``Refusal`` becomes the answer
to a request, and ``EndedOnPurpose`` and ``_Stopped`` end a process that was told to.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CatalogueMismatch",
    "ColumnProblem",
    "DamagedModel",
    "DataError",
    "DatabaseProblem",
    "EventsFull",
    "EventsProblem",
    "FolderExists",
    "KeyUsedOtherwise",
    "ModelFolderProblem",
    "NewerFormat",
    "NoPurchases",
    "NotServed",
    "RulesLost",
    "RulesProblem",
    "ServerBusy",
    "ServerProblem",
    "SettingProblem",
    "StateProblem",
    "TastemakerError",
    "TimesUndecided",
    "TrainingFailed",
    "TrainingInterrupted",
    "TryLater",
    "UnknownId",
    "UnreadableFile",
    "WorkersLost",
]


class TastemakerError(Exception):
    """The root of the tree; its text is one sentence that a user can act on."""


class DataError(TastemakerError):
    """The input is not a usable log or catalogue."""


class UnreadableFile(DataError):
    """A file is missing, a folder, empty, truncated or of another format than its name says."""


class ColumnProblem(DataError):
    """A column is missing, ambiguous or of a type that cannot hold what it should."""


class TimesUndecided(ColumnProblem):
    """Nothing tells whether the day or the month comes first in a column of times."""


class NoPurchases(DataError):
    """No purchase is left after reading: the log was empty, or every row was dropped."""


class DatabaseProblem(DataError):
    """A database or an object store is away, refuses, breaks off, or has nothing of what was asked."""


class CatalogueMismatch(DataError):
    """The log holds ids that the given catalogue lacks."""


class UnknownId(DataError):
    """Ids were asked for that the vocabulary does not hold; ``ids`` lists them."""

    def __init__(self, message: str, ids: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.ids = tuple(ids)


class SettingProblem(TastemakerError):
    """A setting has a value that cannot work, such as zero dimensions or a NaN learning rate."""


class TrainingFailed(TastemakerError):
    """The loss became NaN or infinite; nothing was written."""


class TrainingInterrupted(TastemakerError):
    """Training was stopped by the user, who did not ask to keep what it had learned."""


class WorkersLost(TastemakerError):
    """Work on several processes or hosts could not go on; what was written whole is kept, and the same command goes on from it."""


class ModelFolderProblem(TastemakerError):
    """A model folder cannot be read or written."""


class TryLater(ModelFolderProblem):
    """A version could not be copied or tried for no fault of its own, such as a full disk."""


class FolderExists(ModelFolderProblem):
    """The output folder exists already; a model never overwrites another."""


class DamagedModel(ModelFolderProblem):
    """A file of the model folder is missing, or its SHA-256 is not the one in the manifest."""


class NewerFormat(ModelFolderProblem):
    """The folder was written by a newer tastemaker, in a format that this one cannot read."""


class NotServed(TastemakerError):
    """The server does not have this model, version or label; ``missing`` says which of the three."""

    def __init__(self, message: str, missing: str) -> None:
        super().__init__(message)
        self.missing = missing


class RulesProblem(TastemakerError):
    """Rules cannot hold for a version of a model: they name a column that its catalogue lacks, or a value of another type."""


class RulesLost(TastemakerError):
    """A model's file of rules cannot be read, and no good rules are known, so that what they govern is not answered."""


class ServerBusy(TastemakerError):
    """Too many requests wait for the server's ranking threads; the same request may succeed a moment later."""


class EventsProblem(TastemakerError):
    """The file of events cannot be read or written."""


class EventsFull(EventsProblem):
    """The disk has no room for further events; nothing of the request was kept."""


class KeyUsedOtherwise(EventsProblem):
    """An idempotency key came again with another content."""


class StateProblem(TastemakerError):
    """Rules, labels or keys that several hosts share in a database cannot be read, or not be changed while it is away."""


class ServerProblem(TastemakerError):
    """The server cannot start, or cannot go on."""
