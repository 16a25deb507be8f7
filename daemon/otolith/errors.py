"""Everything otolith refuses, under one parent: the command line turns each into one line and an exit code.

A message says where, what was found and what would do. Whatever is not an `OtolithError` is a bug and keeps its
traceback.
"""


class OtolithError(Exception):
    """The work failed for a reason the user can act on."""

    exit_code = 1


class UsageError(OtolithError):
    """The command was asked for something that cannot be meant."""

    exit_code = 2


class SettingsError(OtolithError):
    """A settings file or recipe is wrong; trying again will not mend it (systemd does not restart on 78)."""

    exit_code = 78


class ModelError(OtolithError):
    """A model file is not one that can be trusted; trying again will not mend it."""

    exit_code = 78


class RecordingError(OtolithError):
    """A sound or sensor file cannot be read as what it claims to be."""


class SourceError(OtolithError):
    """A source cannot be opened or has failed."""


class DeviceHangsError(SourceError):
    """A device answers no more, and cannot be let go either: only another process can open it again."""


class WireError(OtolithError):
    """An endpoint cannot be used, or what came over it is not a message of ours."""
