"""What can go wrong with the online store, one class per remedy. Messages name the value, the place and what to do."""


class StoreError(Exception):
    """The online store refused or could not do what was asked."""


class StoreUnavailable(StoreError):
    """The database cannot be reached or opened."""


class StoreOutdated(StoreError):
    """The database holds another schema version than this software expects."""


class StoreNotEmpty(StoreError):
    """A restore would overwrite a store that already holds something."""


class Fenced(StoreError):
    """A later claim of the same name exists, so this holder may no longer write."""


class UnknownRow(StoreError):
    """The row asked for does not exist."""


class WrongState(StoreError):
    """The row exists, and its state does not allow this step."""


class Unconfirmed(StoreError):
    """The store was restored, and nobody has confirmed yet what the ERP holds."""


class StoreBehind(StoreError):
    """The store is older than, or another one than, what is published."""


class StillRefused(StoreError):
    """A quarantined row was to be released and fails its checks again."""


class SourceTaken(StoreError):
    """Another channel is the authority of a source."""


class OffsetsLost(StoreError):
    """The stream no longer holds the position after the last stored offset: messages may be missing."""
