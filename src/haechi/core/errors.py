"""Every error Haechi raises on purpose; the class tells the catcher its next move. Used by all code.

HaechiError
├── InvalidSettings   the operator mends a file or an option; never retried
├── Unavailable       a peer, a disk or an engine is away; the runner retries with back-off
│   └── Busy          this caller asks too much; it waits the seconds the error names and asks again
├── Refused           credentials or permission; the caller mends them
├── InvalidData       this input cannot be understood; it is quarantined and the stream goes on
├── NotSupported      a declared gap of ours
├── Conflict          the thing exists already or is in another state; the caller reads and decides again
└── NotFound          no such thing; the caller mends the name
"""


class HaechiError(Exception):
    """Base of the tree; `str(error)` says what is wrong and what to do about it."""


class InvalidSettings(HaechiError):
    """A setting, a city file or a command-line option is wrong. The message names file, line and the mend."""


class Unavailable(HaechiError):
    """Something outside this process does not answer now. The runner retries with back-off."""


class Busy(Unavailable):
    """The caller must wait `retry_after_s` seconds before it asks again (password guessing, too many questions)."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(HaechiError):
    """Credentials are wrong or the role does not allow this."""


class InvalidData(HaechiError):
    """Bytes or values that cannot be understood.

    `reason` is a short stable word for counters and filters (`"malformed"`, `"unknown_device"`); the message is for
    people.
    """

    def __init__(self, message: str, reason: str = "malformed") -> None:
        super().__init__(message)
        self.reason = reason


class NotSupported(HaechiError):
    """A part of a standard that Haechi declares it does not do."""


class Conflict(HaechiError):
    """The thing exists already, or its state does not allow this step."""


class NotFound(HaechiError):
    """No such entity, alarm, incident, user or file."""
