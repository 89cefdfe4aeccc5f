"""The serial way of the note that this project grew from, and its pool of 16 threads, rebuilt faithfully in cost.

For each sample:

1. draw: its 20 bars as a candlestick chart by mplfinance, 3 x 3 inches at 50 dpi, into a PNG file;
2. reopen: that file with Pillow, in colour, resized to 224 x 224 x 3, as float32;
3. encode: to 1024 numbers by the encoder of an attention convolutional autoencoder, a batch of one;
4. search: the 300 nearest of as many vectors as ours has patterns, in one flat FAISS index without a rule of time;
5. history: of the first five whose window ended before the sample's date, each one's symbol read from its CSV file with
   pandas (half of the symbols are in a cache already), and the five bars that followed;
6. win rate: the share that rose.

Its cost does not depend on what the vectors say, so the network is untrained and the index holds random unit vectors:
neither of them is the note's own. Five histories a sample are the fewest that can be meant; were all 300 read, this way
would take many times as long.

In the pool, 16 threads do the same under a lock around step 1, without which matplotlib draws rubbish. torch, FAISS and
OpenMP have their own default numbers of threads in both.
"""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from time import perf_counter

import faiss
import matplotlib
import mplfinance
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from tests.benchmarks.measured import Measured, added
from tests.benchmarks.question import Question

POOL = 16
DIM, NEAREST, MATCHES, FOLLOWING = 1024, 300, 5, 5
_BLOCK = 20_000
STAGES = ("draw", "reopen", "encode", "search", "history", "win rate")


class ImageEncoder(nn.Module):
    """Images `(n, 3, 224, 224)` to latents `(n, 1024)`: five strided convolutions, with attention over channels and
    places (Woo et al., "CBAM: Convolutional Block Attention Module", 2018) after the last."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 32), (32, 64), (64, 128), (128, 256), (256, 256)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.channels = nn.Sequential(nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, 256))
        self.places = nn.Conv2d(2, 1, 7, padding=3)
        self.latent = nn.Linear(256 * 7 * 7, DIM)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.convolutions(images)
        channel = torch.sigmoid(self.channels(seen.mean((2, 3))) + self.channels(seen.amax((2, 3))))
        seen = seen * channel[:, :, None, None]
        place = torch.sigmoid(self.places(torch.stack([seen.mean(1), seen.amax(1)], 1)))
        latent: Tensor = self.latent((seen * place).flatten(1))
        return latent


class Note:
    """Network, index and CSV files of the note's way, and the question."""

    def __init__(self, question: Question, serial_samples: int, pooled_samples: int) -> None:
        matplotlib.use("Agg")
        self.serial_samples, self.pooled_samples = serial_samples, pooled_samples
        self.loaded = question.load()
        self.patterns = self.loaded.state.patterns
        self._folder = tempfile.TemporaryDirectory(prefix="kline-note-")
        self.folder = Path(self._folder.name)
        self.cache: dict[str, pd.DataFrame] = {}
        for number, (symbol, bars) in enumerate(sorted(self.loaded.state.frames.items())):
            columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
            pd.DataFrame(columns, index=pd.Index(bars.dates, name="date")).to_csv(self.folder / f"{symbol}.csv")
            if number % 2:
                self.cache[symbol] = self.read(symbol)
        torch.manual_seed(0)
        self.network = ImageEncoder().eval()
        self.index = _random_index(len(self.patterns))

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def serial(self, round_: int) -> Measured:
        """One sample after the other."""
        chosen = self.loaded.some(self.serial_samples, round_)
        started = perf_counter()
        parts = [self.one(at, nullcontext()) for at in chosen]
        return Measured.scaled(perf_counter() - started, added(parts), len(chosen), len(self.loaded.dates))

    def pooled(self, round_: int) -> Measured:
        """The same by 16 threads; its stages, added up over these, hold what each of them waited for the processor."""
        chosen = self.loaded.some(self.pooled_samples, round_)
        lock = threading.Lock()
        with ThreadPoolExecutor(POOL) as pool:
            started = perf_counter()
            parts = list(pool.map(lambda at: self.one(at, lock), chosen))
            seconds = perf_counter() - started
        return Measured.scaled(seconds, added(parts), len(chosen), len(self.loaded.dates))

    def one(self, at: int, lock: AbstractContextManager[object]) -> dict[str, float]:
        """Seconds by stage of one sample; what it waited for the lock is none of them."""
        stages: dict[str, float] = {}

        @contextmanager
        def stage(name: str) -> Iterator[None]:
            started = perf_counter()
            yield
            stages[name] = perf_counter() - started

        path = self.folder / f"{at}.png"
        with lock, stage("draw"):
            self.draw(at, path)
        with stage("reopen"):
            image = reopened(path)
        with stage("encode"), torch.inference_mode():
            vector = self.network(image).numpy()
        with stage("search"):
            rows = self.index.search(vector / np.linalg.norm(vector), NEAREST)[1][0]
        with stage("history"):
            returns = self.window_outcomes(rows, self.loaded.dates[at])
        with stage("win rate"):
            float(np.mean([each > 0 for each in returns])) if returns else None
        return stages

    def draw(self, at: int, path: Path) -> None:
        """The sample's bars as a chart in a file."""
        bars, end = self.loaded.bars, int(self.loaded.ends[at])
        window = slice(end + 1 - self.loaded.state.key.settings.patterns.window_bars, end + 1)
        frame = pd.DataFrame(
            {name.capitalize(): getattr(bars, name)[window] for name in ("open", "high", "low", "close")},
            index=pd.DatetimeIndex(bars.dates[window]),
        )
        look = {"type": "candle", "style": "charles", "axisoff": True, "figsize": (3, 3), "closefig": True}
        mplfinance.plot(frame, **look, savefig={"fname": str(path), "dpi": 50})

    def window_outcomes(self, rows: np.ndarray, date: np.datetime64) -> list[float]:
        """Returns over the bars after each match."""
        patterns, returns = self.patterns, []
        for row in rows[patterns.end[rows] < date][:MATCHES]:
            symbol = patterns.symbols[patterns.code[row]]
            history = self.cache[symbol] if symbol in self.cache else self.read(symbol)
            place = history.index.get_loc(pd.Timestamp(patterns.end[row]))
            closes = history["close"].iloc[place : place + FOLLOWING + 1]
            returns.append(float(closes.iloc[-1] / closes.iloc[0] - 1))
        return returns

    def read(self, symbol: str) -> pd.DataFrame:
        """A symbol's history from its file."""
        return pd.read_csv(self.folder / f"{symbol}.csv", index_col="date", parse_dates=["date"])


def reopened(path: Path) -> Tensor:
    """A picture in a file as the network's input, float32 `(1, 3, 224, 224)`."""
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((224, 224)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()


def _random_index(count: int) -> faiss.IndexFlatIP:
    rng = np.random.default_rng(0)
    index = faiss.IndexFlatIP(DIM)
    for start in range(0, count, _BLOCK):
        block = rng.standard_normal((min(_BLOCK, count - start), DIM), dtype=np.float32)
        faiss.normalize_L2(block)
        index.add(block)
    return index
