"""Hash of the code that makes values, taken before any of that code is loaded.

Two processes may compute the same values only if they run the same code: a worker that was started before an upgrade,
or from another copy of the package, makes other values with no error. Versions do not tell: a copy may be changed
without a new one. So the sources do.

The package imports this module before all others, since what lies on the disk may be replaced while a process runs:
`CODE` is that of the modules which this process loads, unless they were replaced before they were all loaded, and
`code_hash` then gives another hash than `CODE`.
"""

import hashlib
from collections.abc import Iterable
from importlib.machinery import PathFinder
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Final

_BESIDE: Final = {f"kline_core.{name}" for name in ("api", "cli", "demo", "evaluation", "maintenance", "plots")}
"""Parts of the package that make no values; what is new counts as making some."""
_BYTECODE_HEADER: Final = 16
"""Bytes of a bytecode file before the code itself; they hold the time of its source (PEP 552)."""


def code_hash(package: Path | str | None = None) -> str:
    """Hash of the modules that make values, as they lie on the disk now: 16 hexadecimal digits.

    `package`: folder of the package, or its path in a zip file; None for the one of this module. Line ends do not
    count. Where the sources were left out, the bytecode files count in their place.
    """
    digest = hashlib.blake2b(digest_size=8)
    _add(digest, [str(Path(__file__).parent if package is None else package)], "kline_core.")
    return digest.hexdigest()


def _add(digest: Any, path: Iterable[str], prefix: str) -> None:
    path = list(path)
    for name in sorted(module.name for module in iter_modules(path, prefix)):
        if name in _BESIDE:
            continue
        spec = PathFinder.find_spec(name, path)
        # None if the module was removed after it was listed.
        if spec is None:
            continue
        text = _text(spec.loader, name)
        digest.update(f"{name} {len(text)} ".encode() + text)
        if spec.submodule_search_locations is not None:
            _add(digest, spec.submodule_search_locations, f"{name}.")


def _text(loader: Any, name: str) -> bytes:
    file = loader.get_filename(name)
    content: bytes = loader.get_data(file)
    return content[_BYTECODE_HEADER:] if file.endswith(".pyc") else content.replace(b"\r\n", b"\n")


CODE: Final = code_hash()
"""Hash of the code of this process."""
