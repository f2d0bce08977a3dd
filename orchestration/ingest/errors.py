"""What can stop an ingest, one class per remedy. Messages name the value, the place and what to do."""


class IngestError(Exception):
    """Nothing was committed; the message says why and what to do."""


class ContractError(IngestError):
    """The contract or a suite cannot be used: the project itself is wrong, not the data."""


class FileRejected(IngestError):
    """A file as a whole cannot be read; its rows stay where they are."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        """Whether every run is to try it again: the file may be right, and an answer or a setting is missing."""


class IngestBusy(IngestError):
    """Another process is ingesting the same table."""


class LandingUnavailable(IngestError):
    """The landing folder cannot be read at the moment; what arrives otherwise goes on."""


class SourceUnavailable(IngestError):
    """A SQL source cannot be read; that source alone stops."""

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        """Whether trying again soon may help."""
