"""Every error that the library raises on purpose.

    KlineError
    ├── SettingError        a parameter out of its bounds
    ├── InputError          a file or a row from outside that cannot be used
    ├── SourceError         a live source that cannot be asked, or gives nothing
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
    ├── StartError          a program that `kline up` needs does not start, or does not stay
    └── ServerError         a Prefect server that is not named, does not answer, or refuses

A message is one line that names what is wrong (parameter, file, row or symbol), the value, and what to do about it.

The same facts are attributes of the error, for programs that act on them instead of showing them. Each class declares
its own; one that is not known where the error is raised is None:

    >>> import kline_core as kl
    >>> try:
    ...     kl.FactorSettings(top_k=0)
    ... except kl.errors.SettingError as error:
    ...     error.parameter, error.value
    ('top_k', 0)
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kline_core._secrets import masked
from kline_core._text import harmless, shortened

if TYPE_CHECKING:
    import numpy as np


LONGEST = 1_500
"""Characters of a message, about: a file may have a column name of a megabyte, and nobody reads that."""


class KlineError(Exception):
    """Base of every error raised on purpose; the command line prints its message and exits with 1."""

    _declared: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Count the annotated attributes of a class as its facts, beside those of the classes above it."""
        cls._declared = cls._declared | inspect.get_annotations(cls).keys()

    def __init__(self, message: str, **facts: Any) -> None:
        """Keep the facts as attributes. Raises `TypeError` for one that the class does not declare.

        The message quotes cells and names from outside, so it is made harmless. Passwords in URLs and the values of
        secret variables are masked, since messages are logged and recorded. A message longer than `LONGEST` is cut in
        its middle; the facts keep the whole value.
        """
        super().__init__(shortened(harmless(masked(message)), LONGEST))
        if undeclared := sorted(facts.keys() - self._declared):
            declared = ", ".join(sorted(self._declared)) or "none"
            raise TypeError(f"{type(self).__name__} has no fact {undeclared[0]!r}; it declares {declared}")
        texts = {name: masked(fact) for name, fact in facts.items() if isinstance(fact, str)}
        self.__dict__.update(facts | texts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Restored without `__init__`, since a subclass may make its message from something else."""
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[KlineError], args: tuple[Any, ...]) -> KlineError:
    return kind.__new__(kind, *args)


class SettingError(KlineError):
    """A parameter lies outside its bounds."""

    parameter: str | None = None
    """Its name as the message has it: `top_k`, or `--out` for an option of the command line."""
    value: Any = None
    """What was given."""
    bound: str | None = None
    """What is allowed: "at least 1"."""


class InputError(KlineError):
    """A file, or a row of it, cannot be used."""

    source: str | None = None
    """Path of the file or folder, or the name under which a frame stands in reports."""
    row: int | None = None
    """Number of the row; in a CSV file the line, the header being line 1."""
    column: str | None = None
    """Name of the column that is missing, or in which the value stands."""
    value: Any = None
    """What cannot be used."""


class SourceError(KlineError):
    """A live source cannot be asked, or gives nothing that can be used."""

    source: str | None = None
    """Its name: akshare, baostock, tushare or yfinance."""
    symbol: str | None = None
    """The symbol that was asked for; None where it is not a matter of one."""
    remedy: str | None = None
    """Command or variable that helps, such as `pip install '.[akshare]'`; None where none is known."""


class HomeError(KlineError):
    """A home is missing, half made or not writable."""

    home: str | None = None
    """Folder or URL of the home."""
    table: str | None = None
    """Name of the table; None where it is not a matter of one."""
    worker: str | None = None
    """Address of the Dask worker that sees the home so; None where this process does."""


class UnknownSymbolError(KlineError):
    """The home holds no bars of a requested symbol."""

    symbols: list[str] | None = None
    """All the unknown ones, sorted."""
    home: str | None = None
    """Folder or URL of the home."""


class DateError(KlineError):
    """A date cannot be parsed, lies outside the symbol's bars, or is not one of its trading days."""

    parameter: str | None = None
    """Name of the parameter, option or row that gives the date, as the message has it."""
    value: Any = None
    """What was given; for a range its first and its last day, each None where it is open."""
    symbol: str | None = None
    """The symbol whose bars do not have the date."""
    calendar: str | None = None
    """The exchange's calendar that does not have the date."""


class FingerprintError(KlineError):
    """Stored patterns or values were made with other settings than the ones now asked for."""

    home: str | None = None
    """Folder or URL of the home."""
    fingerprint: str | None = None
    """The one that was asked for; None where none was."""
    stored: list[str] | None = None
    """Those under which the home holds something."""
    differences: Mapping[str, tuple[Any, Any]] | None = None
    """By setting, `encoder` among them: what the patterns were made with, and what is asked for; None where unset."""


class EncoderError(KlineError):
    """Encoder weights are missing or damaged, or the encoder was trained through a sample's date."""

    path: str | None = None
    """The weights' file; None for those that come along, too."""
    device: str | None = None
    """The device that cannot be used."""
    trained_through: "np.datetime64 | None" = None
    """Last day of the market data that the encoder has seen."""
    worker: str | None = None
    """Address of the Dask worker that cannot use the weights or the device; None where this process cannot."""


class BarsMissingError(KlineError):
    """Bars of a session have not arrived."""

    calendar: str | None = None
    """The exchange's calendar."""
    session: "np.datetime64 | None" = None
    """Day of the session."""
    missing: list[str] | None = None
    """Symbols without a bar of it, sorted."""
    expected: int | None = None
    """How many symbols should have one."""


class StaleError(KlineError):
    """Two tables of a home contradict each other until `kline index` is run."""

    home: str | None = None
    """Folder or URL of the home."""
    missing: int | None = None
    """Windows of the bars that have no pattern; None where they were not counted."""
    invalid: int | None = None
    """Patterns that the bars contradict; None where they were not counted."""


class SchedulerError(KlineError):
    """A Dask scheduler cannot be reached, or has no workers."""

    address: str | None = None
    """Where the scheduler is, or should be."""


class RecallError(KlineError):
    """An approximate index finds a smaller share of the exact matches than `min_recall`."""

    recall: float | None = None
    """Share of the exact matches that it finds, 0..1."""
    min_recall: float | None = None
    """Share that was asked for."""


class RunFailedError(KlineError):
    """The share of failed samples of a run exceeds `max_failed_share`."""

    result: Any = None
    """The partial `FactorResult`, if `kline_core.compute_factor` started the run; None otherwise."""
    report: Any = None
    """What the run did: its `RunReport`; what `kline_core.verify` gives where the tables are damaged."""
    failed_share: float | None = None
    """Share of the samples that failed, 0..1, where that is the reason."""
    reasons: Mapping[str, int] | None = None
    """Failed samples by reason."""
    symbols: list[str] | None = None
    """Symbols that broke or have no sample, where that is the reason."""


class StartError(KlineError):
    """A program that `kline up` or `kline demo` needs does not start, or does not stay."""

    part: str | None = None
    """Name of the program."""
    code: int | None = None
    """Exit code of the program; None while it runs."""
    log: Path | None = None
    """File with what the program has said."""


class ServerError(KlineError):
    """A Prefect server is not named, does not answer, or refuses."""

    address: str | None = None
    """URL of its API; None if none is named."""
