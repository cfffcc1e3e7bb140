"""Errors a user can act on.

Each message is one line: which file or key, what was found, what was expected, what to do. The scripts print it and leave
with exit code 2; anything else that is raised is a defect of ours and keeps its traceback.
"""


class RgbAvatarError(Exception):
    """Base of every error that a user can act on."""


class ConfigError(RgbAvatarError):
    """A configuration key or a command-line value is wrong."""


class DataError(RgbAvatarError):
    """A subject's image or tracking file is missing, broken or does not fit the others."""


class TemplateError(RgbAvatarError):
    """A head template's file is missing, of another kind, or refused."""


class CheckpointError(RgbAvatarError):
    """A checkpoint is missing, broken, or of another configuration."""


class TrainingError(RgbAvatarError):
    """Training cannot go on: it diverged, or the device ran out of memory."""


class OutputError(RgbAvatarError):
    """A result cannot be written: the folder exists already, or the disk is full."""


class ExtensionUnavailableError(RgbAvatarError):
    """The rasterization extension, or its backend for the chosen device, was not built."""


class Stopped(Exception):
    """A signal ended the work, and what was done is saved. exit_code: what a shell reports for it, 128 + the signal."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
