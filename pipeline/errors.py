"""Every error that LakeScore raises on purpose, and the exit code a job turns it into.

    LakeScoreError              1   the run failed
    +-- ConfigError             2   a setting cannot work; nothing was read
    |   +-- EncoderError        2   the encoder or its weights do not fit the settings
    |   +-- CatalogError        2   the lake or its manifest is not what the settings say
    +-- NothingToScore          3   no image was found, or none could be scored
    +-- StorageError            1   a file or object could not be read or written
    |   +-- DamagedFile         1   what lies there is not what was written
    |   +-- ObjectChanged       1   it is not the one that was listed any more
    |   +-- StoreUnavailable    1   the store did not answer for minutes, or refuses the credentials
    +-- IncompleteRun           1   rows are missing at the end of a stage
    +-- RunLocked               4   another process does this run

A message says what happened, to which input, and what to do about it.
"""


class LakeScoreError(Exception):
    """The run failed."""

    exit_code = 1


class ConfigError(LakeScoreError):
    """A setting cannot work; found before anything was read."""

    exit_code = 2


class EncoderError(ConfigError):
    """The encoder or its weights do not fit the settings."""


class CatalogError(ConfigError):
    """The lake or its manifest is not what the settings say."""


class NothingToScore(LakeScoreError):
    """No image was found, or none could be scored."""

    exit_code = 3


class StorageError(LakeScoreError):
    """A file or object could not be read or written."""


class DamagedFile(StorageError):
    """What lies in a file is not what was written, or is gone."""


class ObjectChanged(StorageError):
    """A file or object is not the one that was listed any more."""


class StoreUnavailable(StorageError):
    """The store did not answer for minutes, or refuses the credentials: no file's fault."""


class IncompleteRun(LakeScoreError):
    """Rows are missing at the end of a stage, so the run must not be published."""


class RunLocked(LakeScoreError):
    """Another process does this run."""

    exit_code = 4
