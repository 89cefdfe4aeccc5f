"""`kline demo`, `train` and `up`: programs that run for a while."""

import argparse
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from kline_core.cli.answer import Answer
from kline_core.cli.console import show
from kline_core.cli.options import check_outside_tables, check_writable, named_home, opened_home
from kline_core.compute.progress_bar import bar
from kline_core.errors import HomeError, SettingError

if TYPE_CHECKING:
    from flows.local_stack.ready import Ready


def demo(options: argparse.Namespace) -> Answer:
    """`kline demo`."""
    # KLINE_HOME names the user's own home, in which the demo's stocks have no place.
    named = "kline-demo" if options.home is None else options.home
    if not named or "://" in named:
        raise HomeError(f"--home is {named!r}; the demo needs a folder of its own, no URL", home=named)
    from flows.demo import demo as run_demo

    report = run_demo(Path(named), threads=options.threads, samples=options.samples)
    return Answer(report.text(), report.to_dict())


def train(options: argparse.Namespace) -> Answer:
    """`kline train`."""
    if options.market:
        return _train_on_market(options)
    import torch

    from kline_core.compute.opening import checked_threads
    from kline_core.encoder.encoder import choose_device, save_weights
    from kline_core.encoder.model_card import reconstruction_picture, write_card
    from kline_core.encoder.training import WindowPool, check_training
    from kline_core.encoder.training import train as train_encoder

    if options.out.suffix != ".safetensors":
        raise SettingError(
            f"--out is {options.out}; the weights' name must end in .safetensors",
            parameter="--out",
            value=options.out,
            bound="a name that ends in .safetensors",
        )
    check_writable("--out", options.out)
    check_training(options.steps, options.seed)
    choose_device(options.device)
    torch.set_num_threads(checked_threads(options.threads))
    started = perf_counter()
    pool = WindowPool.synthetic(options.seed)
    with bar("train", " steps") as progress:
        training = train_encoder(
            pool,
            options.steps,
            options.seed,
            device=options.device,
            progress=lambda done, losses: progress(done, options.steps, losses.line()),
        )
    save_weights(options.out, training.encoder, training.decoder, {})
    card = write_card(options.out, training, pool, options.seed, perf_counter() - started)
    picture = options.out.with_suffix(".png")
    reconstruction_picture(options.out, WindowPool.synthetic(options.seed + 1, 200, 200), picture)
    last = card["losses"][-1]
    text = (
        f"{options.steps} steps in {card['seconds']} s: "
        f"pair {last['pair']}, rank {last['rank']}, pixel {last['pixel']}\n"
        f"weights {options.out}, card {options.out.with_suffix('.json')}, reconstructions {picture}"
    )
    return Answer(text, card)


def _train_on_market(options: argparse.Namespace) -> Answer:
    from kline_core.api.study import train_by_year

    check_outside_tables("--out", options.out)
    with bar("train", " years") as progress:
        found = train_by_year(
            opened_home(options),
            options.out,
            scheduler=options.scheduler,
            threads=options.threads,
            progress=lambda done, of: progress(done, of, ""),
        )
    return Answer(found.text(), found.to_dict())


def up(options: argparse.Namespace) -> None:
    """`kline up`, which prints as soon as everything is ready."""
    from flows.local_stack.up import up as run_all

    def announce(ready: "Ready") -> None:
        show(ready.text(), ready.to_dict(), options.json)

    run_all(named_home(options), options.port, options.threads, announce, options.host, options.tls, options.source)
