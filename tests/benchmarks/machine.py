"""The machine: what it is, and the best that its libraries get out of it."""

import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from time import perf_counter

import numpy as np
import psutil
import torch
from threadpoolctl import threadpool_limits
from torch.nn import functional

from kline_core._processor import LEAVE_OUT, left_out, processor

LIBRARIES = ("numpy", "torch", "faiss-cpu", "pandas", "pyarrow", "deltalake", "dask", "distributed")
THREADS = (1, 2)
_SECONDS, _TRIES = 0.01, 2
_LIMITS = (
    (
        "avx2",
        {
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
    ),
    (
        "avx512f",
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
    ),
)
"""By instruction, the narrowest first: what torch, oneDNN, OpenBLAS and MKL are told so that they do without it."""
_STREAM = 1 << 26
"""Float32 numbers in an array that no cache holds (256 MiB)."""


def description(libraries: tuple[str, ...]) -> dict[str, object]:
    """Processor with its abilities and those left out, cores, memory, system, and the versions of the libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": str(processor()),
        "left_out": sorted(left_out()),
        "cores": cores,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries},
    }


def leave_out(names: str) -> None:
    """Have the processes that are started from now on, and their libraries, do without instructions of the processor.

    Raises `SettingError` for names that are not those of `kline_core._processor.INSTRUCTIONS`.
    """
    os.environ[LEAVE_OUT] = names
    narrow = next((limit for name, limit in _LIMITS if name in left_out()), {})
    os.environ.update(narrow)


class Elsewhere:
    """How much of the processor others use meanwhile: where they do, no figure of that run is worth much."""

    def __init__(self) -> None:
        self._started, self._spent = perf_counter(), _spent_by_others()

    def cores(self) -> float:
        """Cores that programs other than this one and those that it has started have kept busy, on average."""
        return max(0.0, (_spent_by_others() - self._spent) / (perf_counter() - self._started))


def _spent_by_others() -> float:
    """Seconds of processor time of everything but this program and what it has started."""
    times = psutil.cpu_times()
    # The kernel counts the guests of a virtual machine as its users already.
    idle = times.idle + sum(getattr(times, name, 0.0) for name in ("iowait", "guest", "guest_nice"))
    here = psutil.Process()
    own = 0.0
    for process in [here, *here.children(recursive=True)]:
        spent = process.cpu_times()
        # And of those that it has started and that have ended.
        own += spent.user + spent.system + spent.children_user + spent.children_system
    return float(sum(times) - idle - own)


@dataclass(frozen=True, slots=True)
class Peaks:
    """Best rates seen, by numbers of threads."""

    operations: dict[int, dict[str, float]]
    """Float32 additions and multiplications a second of each product."""
    bytes: dict[int, float]
    """Bytes a second read and written."""

    def fastest(self, threads: int) -> tuple[str, float]:
        """The product with the best rate, and that rate."""
        return max(self.operations[threads].items(), key=lambda pair: pair[1])


def best(rounds: list[Peaks]) -> Peaks:
    """The best of each rate: on a machine with other tenants every disturbance only lowers one."""
    operations = {
        threads: {name: max(each.operations[threads][name] for each in rounds) for name in products}
        for threads, products in rounds[0].operations.items()
    }
    return Peaks(operations, {threads: max(each.bytes[threads] for each in rounds) for threads in rounds[0].bytes})


class Machine:
    """Products of the shapes that samples are made of, and large copies, at a time when nothing else works.

    The products: of samples with a block of patterns (64 numbers each), of the two largest convolutions of the encoder
    for a batch of 64, as a matrix product and as torch does convolutions, and of two square matrices. Two threads are
    tried in both ways, two of the library's own and two of Python's with one each, and the better one counts.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)

        def some(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape, dtype=np.float32)

        shapes = {
            "600 x 64 x 16384": (600, 64, 16384),
            "48 x 288 x 10240": (48, 288, 10240),
            "128 x 576 x 1280": (128, 576, 1280),
            "1024 x 1024 x 1024": (1024, 1024, 1024),
        }
        self._products: dict[str, tuple[int, Callable[[], object]]] = {}
        for name, (m, k, n) in shapes.items():
            a, b = some(m, k), some(k, n)
            x, y = torch.from_numpy(a), torch.from_numpy(b)
            self._products[f"NumPy {name}"] = 2 * m * k * n, lambda a=a, b=b: a @ b
            self._products[f"torch {name}"] = 2 * m * k * n, lambda x=x, y=y: x @ y
        for inputs, outputs, (height, width), kernel, stride, padding in (
            (24, 48, (20, 16), (3, 4), (1, 2), (1, 1)),
            (64, 128, (10, 4), (3, 3), (1, 2), (1, 1)),
        ):
            images = torch.from_numpy(some(64, inputs, height, width))
            weights = torch.from_numpy(some(outputs, inputs, *kernel))

            def convolve(
                images: torch.Tensor = images,
                weights: torch.Tensor = weights,
                stride: tuple[int, int] = stride,
                padding: tuple[int, int] = padding,
            ) -> torch.Tensor:
                return functional.conv2d(images, weights, None, stride, padding)

            operations = 2 * convolve().numel() * inputs * kernel[0] * kernel[1]
            self._products[f"torch convolution {inputs} to {outputs}"] = operations, convolve
        self._source, self._target = np.ones(_STREAM, np.float32), np.ones(_STREAM, np.float32)

    def close(self) -> None:
        """Nothing to end."""

    def peaks(self) -> Peaks:
        """One look at all rates."""
        rates: dict[int, dict[str, float]] = {threads: {} for threads in THREADS}
        with torch.inference_mode():
            for name, (operations, work) in self._products.items():
                for threads in THREADS:
                    with _limited(threads):
                        rates[threads][name] = operations * _rate(work, 1)
                    if threads > 1:
                        with _limited(1):
                            apart = operations * _rate(work, threads)
                        rates[threads][name] = max(rates[threads][name], apart)
        return Peaks(rates, {threads: self._bandwidth(threads) for threads in THREADS})

    def _bandwidth(self, threads: int) -> float:
        halves = list(zip(np.split(self._source, threads), np.split(self._target, threads), strict=True))

        def seconds(work: Callable[[np.ndarray, np.ndarray], object]) -> float:
            return min(_together([lambda pair=pair: work(*pair) for pair in halves]) for _ in range(_TRIES))

        with _limited(1):
            copied = 2 * self._source.nbytes / seconds(lambda source, target: np.copyto(target, source))
            read = 2 * self._source.nbytes / seconds(np.dot)
        return max(copied, read)


@contextmanager
def _limited(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        yield
    torch.set_num_threads(before)


def _rate(work: Callable[[], object], apart: int) -> float:
    """Times a second that `work` is done, by `apart` threads of Python that each do it over and over."""
    started = perf_counter()
    work()
    times = max(1, int(_SECONDS / (perf_counter() - started + 1e-9)))

    def several() -> None:
        if apart > 1:
            # OpenMP keeps its limit per thread.
            torch.set_num_threads(1)
        with torch.inference_mode():
            for _ in range(times):
                work()

    return times * apart / min(_together([several] * apart) for _ in range(_TRIES))


def _together(works: list[Callable[[], object]]) -> float:
    """Seconds until all of them, each in a thread, have ended."""
    if len(works) == 1:
        started = perf_counter()
        works[0]()
        return perf_counter() - started
    gate = threading.Barrier(len(works) + 1)

    def begin(work: Callable[[], object]) -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=begin, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    started = perf_counter()
    gate.wait()
    for thread in threads:
        thread.join()
    return perf_counter() - started
