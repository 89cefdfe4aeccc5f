"""Types and bounds of settings, and their plain form; `kline_core.settings` holds the settings."""

import sys
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from kline_core._text import quoted
from kline_core.errors import SettingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check(ok: bool, name: str, value: object, bound: str) -> None:
    """Raise `SettingError` for a value that is not within its bound."""
    if not ok:
        raise SettingError(f"{name} is {quoted(value)}; it must be {bound}", parameter=name, value=value, bound=bound)


def check_types(settings: "DataclassInstance") -> None:
    """Raise `SettingError` for a value of another type than its field's.

    20.0 and True equal whole numbers, and would have fingerprints of their own.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.type is int:
            check(is_whole(value), field.name, value, "a whole number (int)")
        elif field.type is float:
            check(_is_finite(value), field.name, value, "a finite number")
        elif field.type == float | None:
            check(value is None or _is_finite(value), field.name, value, "a finite number or None")
        elif field.type is bool:
            check(isinstance(value, bool), field.name, value, "True or False")
        elif field.type == tuple[int, ...]:
            ok = isinstance(value, tuple) and all(map(is_whole, value))
            check(ok, field.name, value, "a tuple of whole numbers (int)")
        elif field.type == tuple[float, ...]:
            ok = isinstance(value, tuple) and all(map(_is_finite, value))
            check(ok, field.name, value, "a tuple of finite numbers")
        else:
            check(isinstance(value, str), field.name, value, "text")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def plain(settings: "DataclassInstance") -> dict[str, Any]:
    """The fields as plain JSON values: 180 and 180.0 are equal settings, and so one value, as are 0.0 and -0.0."""
    kinds = {field.name: field.type for field in fields(settings)}
    real = {name for name, kind in kinds.items() if kind in (float, float | None)}
    values = asdict(settings)
    return {name: float(value) + 0.0 if name in real and value is not None else value for name, value in values.items()}
