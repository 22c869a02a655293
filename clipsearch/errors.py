"""Every error that clipsearch raises on purpose.

Knows nothing of terminals: `exit_code` is only a number for whoever wants one.

    ClipsearchError              2
    ├── ModelError               the model cannot be had or does not fit
    │   ├── UnknownModel         no such name, file or folder
    │   ├── ModelUnavailable     known, but not here and not to be fetched
    │   ├── ChecksumMismatch     the bytes are not the published ones
    │   └── BrokenCheckpoint     the file is damaged or of no supported kind
    ├── ImageError               one picture cannot be used
    │   ├── UnreadableImage
    │   └── ImageTooLarge
    ├── CatalogError             the library's database
    │   ├── NoLibrary            10
    │   ├── LibraryLocked        11
    │   ├── CatalogTooNew
    │   ├── CatalogDamaged       what `repair` is for
    │   └── ModelMismatch
    ├── VectorIndexError         the derived index
    ├── FolderError              a folder to index cannot be used
    ├── WorkerError              the processes that decode pictures cannot be started
    ├── QueryError               what was asked makes no sense; `column` points at it
    ├── SettingsError            a bad option, environment variable or config file
    └── MissingExtra             an optional package is not installed

A message is one sentence or two: what is wrong, which value, what to do about it.
"""

from __future__ import annotations


class ClipsearchError(Exception):
    """Base of all of them. `exit_code` is what the command line ends with."""

    exit_code = 2


class ModelError(ClipsearchError):
    """The model cannot be had, or does not fit."""


class UnknownModel(ModelError):
    """The name is neither in the registry nor a file or folder."""


class ModelUnavailable(ModelError):
    """The model is known, but it is not on this machine and could not be fetched."""


class ChecksumMismatch(ModelError):
    """A file's bytes are not the ones that were published."""


class BrokenCheckpoint(ModelError):
    """A weights file is damaged, unsafe or of no supported kind."""


class ImageError(ClipsearchError):
    """One picture cannot be used."""


class UnreadableImage(ImageError):
    """The file is no picture, is damaged, or cannot be opened."""


class ImageTooLarge(ImageError):
    """The picture has more pixels than the limit allows. `size` is (width, height), if known."""

    def __init__(self, message: str, size: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.size = size


class CatalogError(ClipsearchError):
    """The library's database cannot do what was asked."""


class NoLibrary(CatalogError):
    """There is no library where one was expected."""

    exit_code = 10


class LibraryLocked(CatalogError):
    """Another process is writing to the library."""

    exit_code = 11


class CatalogTooNew(CatalogError):
    """The library was made by a newer version."""


class CatalogDamaged(CatalogError):
    """The library's database cannot be read, or not all of it."""


class ModelMismatch(CatalogError):
    """The library holds vectors of another model."""


class VectorIndexError(ClipsearchError):
    """The vector index refuses its input or its file."""


class FolderError(ClipsearchError):
    """A folder to index does not exist or cannot be read."""


class WorkerError(ClipsearchError):
    """The processes that decode pictures cannot be started or told what to do."""


class QueryError(ClipsearchError):
    """What was asked makes no sense. `column` is the 0-based place in the text, if known."""

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


class SettingsError(ClipsearchError):
    """An option, environment variable or config file holds a value that cannot be used."""


class MissingExtra(ClipsearchError):
    """An optional package is needed. `extra` is the name to install it by."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional package: pip install 'clipsearch[{extra}]'")
        self.extra = extra
