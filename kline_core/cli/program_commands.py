"""`kline demo`, `train` and `up`: programs that run for a while."""

import argparse
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from kline_core.cli.answer import Answer
from kline_core.cli.console import show
from kline_core.cli.learning_options import STEPS
from kline_core.cli.options import check_writable, named_home, opened_home
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
    steps = STEPS if options.steps is None else options.steps
    seed = 0 if options.seed is None else options.seed
    check_training(steps, seed)
    choose_device(options.device)
    torch.set_num_threads(checked_threads(options.threads))
    started = perf_counter()
    pool = WindowPool.synthetic(seed)
    with bar("train", " steps") as progress:
        training = train_encoder(
            pool,
            steps,
            seed,
            device=options.device,
            progress=lambda done, losses: progress(done, steps, losses.line()),
        )
    save_weights(options.out, training.encoder, training.decoder, {})
    card = write_card(options.out, training, pool, seed, perf_counter() - started)
    picture = options.out.with_suffix(".png")
    reconstruction_picture(options.out, WindowPool.synthetic(seed + 1, 200, 200), picture)
    last = card["losses"][-1]
    text = (
        f"{steps} steps in {card['seconds']} s: "
        f"pair {last['pair']}, rank {last['rank']}, pixel {last['pixel']}\n"
        f"weights {options.out}, card {options.out.with_suffix('.json')}, reconstructions {picture}"
    )
    return Answer(text, card)


def _train_on_market(options: argparse.Namespace) -> Answer:
    from kline_core.api.study import train_by_year

    for option, usual in (("steps", None), ("seed", None), ("device", "auto")):
        if (value := getattr(options, option)) != usual:
            raise SettingError(
                f"--{option} is {value}, and encoders of --market are all taught alike; leave it away",
                parameter=f"--{option}",
                value=value,
            )
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
