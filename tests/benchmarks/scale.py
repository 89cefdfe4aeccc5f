"""How time and memory grow with samples, symbols, history, patterns and threads, on a synthetic market.

    python -m tests.benchmarks.scale --place DIR [--only daily ...] [--without avx512f,...] [--png FILE] [--json FILE]

The homes are made in DIR and kept there; 5,000 symbols with 1,025,000 patterns take some minutes. Every figure is of a
process of its own. What is measured:

* `daily`: one new bar of every symbol, from the vendor's file to the ranking, on the kind of day on which a pattern of
  every symbol becomes known; for a market, for half of its history and for fewer symbols; in a process that has just
  started and in one that has the day before loaded.
* `encode`: windows drawn and encoded per second. `index`: the same with everything that `kline index` does.
* `backfill`: `--samples` of `--few` symbols, and what all symbols would take at that rate.
* `patterns`: one batch of samples against more and more patterns. Beyond those of the home, vectors are copies with
  small random changes, made unit length again.
* `disk`: one batch of samples against `--on-disk` patterns whose vectors lie in a file.
* `cold`: from the start of the process to the first value.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from kline_core._text import table
from kline_core.plots.style import INK, png, sheet
from tests.benchmarks import scale_steps as steps
from tests.benchmarks.machine import leave_out
from tests.benchmarks.market import Market, day_before, made

STEPS = ("ingest", "extend", "load", "score", "publish")
KINDS = ("daily", "encode", "index", "backfill", "patterns", "disk", "cold")
PROJECTED = 3_000_000


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function answers in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def without_search(found: dict[str, Any]) -> float:
    """Seconds of all threads together that the increment took beside the search."""
    return float(sum(step["cpu"] for step in found["steps"].values()) - found["stages"]["search"])


def daily(options: argparse.Namespace) -> list[dict[str, Any]]:
    whole = Market(options.symbols, options.bars, options.stride)
    sizes = [whole, Market(options.symbols, options.bars // 2, options.stride)]
    sizes += [Market(options.symbols // part, options.bars, options.stride) for part in (2, 4)]
    cases = [(market, options.threads, warm) for market in sizes for warm in (False, True)]
    cases += [(whole, threads, False) for threads in (1, 4)]
    results = []
    for market, threads, warm in cases:
        folder = alone(made, options.place, market)
        alone(day_before, folder, market)
        found = alone(steps.daily, str(folder), market, threads, warm)
        results.append({"symbols": market.symbols, "bars": market.bars, "warm": warm, **found})
    rows = [
        [
            *(str(each[name]) for name in ("symbols", "bars", "patterns", "threads")),
            "warm" if each["warm"] else "cold",
            *(f"{each['steps'][name]['wall']:.2f}" for name in STEPS),
            f"{sum(step['wall'] for step in each['steps'].values()):.1f}",
            f"{without_search(each):.1f}",
            f"{each['peak']:.0f}",
        ]
        for each in results
    ]
    head = ["symbols", "bars", "patterns", "threads", "process", *STEPS, "total s", "CPU s less search", "peak MiB"]
    print("daily increment, seconds by the clock\n" + table(head, rows))
    for kind, at in (("cold", 0), ("warm", 1)):
        ratio = without_search(results[at]) / without_search(results[at + 2])
        print(f"{kind}: twice the history costs {ratio:.2f} times as much beside the search (CPU seconds)")
    return results


def encode(options: argparse.Namespace) -> list[dict[str, Any]]:
    devices = ["cpu"] + (["onnx"] if find_spec("onnxruntime") else []) + (["cuda"] if torch.cuda.is_available() else [])
    results = []
    for device in devices:
        for threads in (1, 2):
            found = alone(steps.encode, options.windows, threads, device)
            results.append({"device": device, "threads": threads, **found})
    rows = [
        [each["device"], str(each["threads"]), f"{each['rate']:.0f}", f"{PROJECTED / each['rate'] / 60:.1f}"]
        for each in results
    ]
    print(f"encoding of {options.windows} windows; minutes for {PROJECTED} are projected at that rate")
    print(table(["device", "threads", "windows per s", "minutes"], rows))
    return results


def index(options: argparse.Namespace) -> list[dict[str, Any]]:
    results = []
    for symbols in (100, 200, 400):
        market = Market(symbols, options.bars, options.stride)
        for threads in (1, 2, 4):
            found = alone(steps.index, str(alone(made, options.place, market)), market, threads)
            results.append({"symbols": symbols, "threads": threads, **found})
    rows = [
        [str(each["symbols"]), str(each["threads"]), str(each["windows"]), f"{each['rate']:.0f}", f"{each['peak']:.0f}"]
        for each in results
    ]
    print("indexing from nothing\n" + table(["symbols", "threads", "windows", "windows per s", "peak MiB"], rows))
    return results


def backfill(options: argparse.Namespace) -> list[dict[str, Any]]:
    market = Market(options.backfill_symbols, options.bars, options.stride)
    folder = str(alone(made, options.place, market))
    cases = [(options.few, options.samples, threads) for threads in (1, 2, 4)]
    cases += [(options.few, options.samples // part, 2) for part in (2, 6, 60)]
    cases += [(options.few // 4, options.samples, 2)]
    results = []
    for symbols, samples, threads in cases:
        found = alone(steps.backfill, folder, market, threads, symbols, samples)
        minutes = options.symbols * options.samples / found["rate"] / 60
        results.append({"symbols": symbols, "each": samples, "threads": threads, "projected minutes": minutes, **found})
    rows = [
        [
            *(str(each[name]) for name in ("symbols", "each", "threads", "patterns")),
            *(f"{each['seconds']:.1f}", f"{each['rate']:.0f}", f"{each['overhead']:.1%}", f"{each['peak']:.0f}"),
            f"{each['projected minutes']:.0f}",
        ]
        for each in results
    ]
    head = ["symbols", "samples each", "threads", "patterns", "s", "samples per s", "overhead", "peak MiB", "minutes"]
    print(f"backfill; minutes for {options.symbols} symbols x {options.samples} samples are projected at that rate")
    print(table(head, rows))
    return results


def patterns(options: argparse.Namespace) -> list[dict[str, Any]]:
    market = Market(options.backfill_symbols, options.bars, options.stride)
    folder = str(alone(made, options.place, market))
    counts = (50_000, 200_000, 400_000, 1_000_000, 3_000_000)
    results = [alone(steps.search_time, folder, market, count, options.samples) for count in counts]
    rows = [[str(each["patterns"]), f"{each['seconds']:.2f}", f"{each['peak']:.0f}"] for each in results]
    print(f"{options.samples} samples, all patterns visible, one thread; search alone")
    print(table(["patterns", "s", "peak MiB"], rows))
    return results


def disk(options: argparse.Namespace) -> list[dict[str, Any]]:
    market = Market(options.backfill_symbols, options.bars, options.stride)
    folder = str(alone(made, options.place, market))
    alone(steps.vectors_on_disk, folder, market, options.on_disk)
    results = [
        alone(steps.search_on_disk, folder, market, options.on_disk, options.samples, threads) for threads in (1, 2)
    ]
    names = ("patterns", "threads", "first", "seconds", "cpu", "rounding cpu", "peak")
    rows = [
        [f"{each[name]:.2f}" if isinstance(each[name], float) else str(each[name]) for name in names]
        for each in results
    ]
    print(
        f"{options.samples} samples that see half of the patterns on average, vectors on disk; search alone, best of 3"
    )
    print(table(["patterns", "threads", "first s", "s", "CPU s", "rounding, once, CPU s", "peak MiB"], rows))
    return results


def cold(options: argparse.Namespace) -> list[dict[str, Any]]:
    market = Market(options.backfill_symbols, options.bars, options.stride)
    folder = alone(made, options.place, market)
    alone(day_before, folder, market)
    found = alone(steps.cold, str(folder), market)
    print(f"from process start to first value, {found['patterns']} patterns: {found['seconds']:.1f} s")
    return [found]


def picture(results: dict[str, list[dict[str, Any]]]) -> bytes:
    """Curves of time and memory."""
    cold_days = [each for each in results.get("daily", []) if not each["warm"] and each["threads"] == 2]
    days = [each | {"seconds": sum(step["wall"] for step in each["steps"].values())} for each in cold_days]
    longest = max((each["bars"] for each in days), default=0)
    most = max((each["symbols"] for each in results.get("backfill", [])), default=0)
    fills = [each for each in results.get("backfill", []) if each["symbols"] == most]
    full = max((each["samples"] for each in fills), default=0)
    made_anew = [
        each | {"seconds": each["windows"] / each["rate"]} for each in results.get("index", []) if each["threads"] == 2
    ]
    curves = [
        ("daily increment", "symbols", [each for each in days if each["bars"] == longest]),
        ("backfill", "samples", [each for each in fills if each["threads"] == 2]),
        ("backfill", "threads", [each for each in fills if each["samples"] == full]),
        ("600 samples, search", "patterns", results.get("patterns", [])),
        ("indexing", "windows", made_anew),
    ]
    curves = [curve for curve in curves if curve[2]]
    figure = sheet(13, 5.2)
    for column, (title, across, points) in enumerate(curves):
        points = sorted(points, key=lambda each: float(each[across]))
        for row, (name, label) in enumerate((("seconds", "seconds"), ("peak", "peak MiB"))):
            axes: Axes = figure.add_subplot(2, len(curves), 1 + column + len(curves) * row)
            axes.plot([each[across] for each in points], [each[name] for each in points], "o-", color=INK, markersize=4)
            axes.set_ylim(0, 1.1 * max(each[name] for each in points))
            axes.set_xlim(left=0)
            axes.set_title(f"{title}, by {across}: {label}", fontsize=7)
            axes.tick_params(labelsize=7)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_xlabel(across, fontsize=7)
    figure.tight_layout()
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--symbols", type=int, default=5000)
    parser.add_argument("--bars", type=int, default=2500)
    parser.add_argument("--stride", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--windows", type=int, default=40_000)
    parser.add_argument("--on-disk", type=int, default=10_000_000)
    parser.add_argument("--backfill-symbols", type=int, default=2000)
    parser.add_argument("--without", default="", help="instructions to do without, as in `python -m tests.benchmarks`")
    parser.add_argument("--png", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.place = options.place.absolute()
    if options.without:
        leave_out(options.without)
    results = {kind: globals()[kind](options) for kind in options.only}
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    if options.png is not None:
        options.png.write_bytes(picture(results))


if __name__ == "__main__":
    main()
