"""Every error that the library raises on purpose.

    KlineError
    ├── SettingError        a parameter out of its bounds
    ├── InputError          a file or a row from outside that cannot be used
    ├── HomeError           a home that is missing, half made or not writable
    ├── UnknownSymbolError  a symbol without bars in the home
    ├── DateError           a date that cannot be parsed, or is no trading day of the symbol
    ├── FingerprintError    patterns or values made with other settings than now asked for
    ├── EncoderError        weights that are missing, damaged, or have seen the sample's date
    ├── BarsMissingError    bars of a session that have not arrived
    ├── StaleError          tables that contradict each other until `kline index` is run
    ├── SchedulerError      a Dask scheduler that cannot be reached or lost its workers
    ├── RecallError         an approximate index that finds less of the exact matches than `min_recall`
    ├── RunFailedError      more samples failed than `max_failed_share` allows
    └── StartError          a program that `kline up` needs does not start, or does not stay

A message is one line that names what is wrong (parameter, file, row or symbol), the value, and what to do about it.
"""

from typing import Any


class KlineError(Exception):
    """Base of every error raised on purpose; the command line prints its message and exits with 1."""


class SettingError(KlineError):
    """A parameter lies outside its bounds."""


class InputError(KlineError):
    """A file, or a row of it, cannot be used."""


class HomeError(KlineError):
    """A home is missing, half made or not writable."""


class UnknownSymbolError(KlineError):
    """The home holds no bars of a requested symbol."""


class DateError(KlineError):
    """A date cannot be parsed, lies outside the symbol's bars, or is not one of its trading days."""


class FingerprintError(KlineError):
    """Stored patterns or values were made with other settings than the ones now asked for."""


class EncoderError(KlineError):
    """Encoder weights are missing or damaged, or the encoder was trained through a sample's date."""


class BarsMissingError(KlineError):
    """Bars of a session have not arrived."""


class StaleError(KlineError):
    """Two tables of a home contradict each other until `kline index` is run."""


class SchedulerError(KlineError):
    """A Dask scheduler cannot be reached, or has no workers."""


class RecallError(KlineError):
    """An approximate index finds a smaller share of the exact matches than `min_recall`."""


class RunFailedError(KlineError):
    """The share of failed samples of a run exceeds `max_failed_share`."""

    result: Any = None
    """The partial `FactorResult`, if `kline_core.compute_factor` started the run; None otherwise."""


class StartError(KlineError):
    """A program that `kline up` or `kline demo` needs does not start, or does not stay."""
