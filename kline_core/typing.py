"""Type aliases of the arrays that the library passes around: the dtype is in the name, the shape in the docstrings."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Dates: TypeAlias = npt.NDArray[np.datetime64]
"""datetime64[D]: days of an exchange, without a time and without a zone."""
Floats64: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Int64s: TypeAlias = npt.NDArray[np.int64]
Int32s: TypeAlias = npt.NDArray[np.int32]
Int16s: TypeAlias = npt.NDArray[np.int16]
Int8s: TypeAlias = npt.NDArray[np.int8]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Hashes: TypeAlias = npt.NDArray[np.uint64]
"""uint64: contents, histories and priorities, see `kline_core._hashing`."""
Pixels: TypeAlias = npt.NDArray[np.uint8]
"""uint8: charts, or one chart."""
Flags: TypeAlias = npt.NDArray[np.bool_]
Objects: TypeAlias = npt.NDArray[np.object_]
Positions: TypeAlias = npt.NDArray[np.intp]
"""intp: indices, as NumPy's own functions return them."""
