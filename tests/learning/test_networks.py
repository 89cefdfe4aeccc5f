from concurrent.futures import ThreadPoolExecutor

import torch

from kline_core.encoder.network import AttentionEncoder
from kline_core.encoder.weights import WeightsFile
from kline_core.learning.networks import DIM, NumbersNetwork, chart_network


def state(network):
    return torch.cat([tensor.flatten().double() for tensor in network.state_dict().values()])


def test_first_weights_are_those_of_the_seed_whatever_other_threads_draw():
    weights = WeightsFile.read()
    makers = [lambda: chart_network(weights, 0), lambda: NumbersNetwork(101, 0), lambda: AttentionEncoder(DIM)]
    alone = [state(make()) for make in makers[:2]]
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda at: state(makers[at % 3]()), range(90)))
    for at, found in enumerate(made):
        if at % 3 < 2:
            assert torch.equal(found, alone[at % 3])


def test_a_chart_network_begins_as_the_default_encoder_but_for_its_last_layer():
    start, other = chart_network(WeightsFile.read(), 0), chart_network(WeightsFile.read(), 1)
    for name, tensor in start.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]) == (not name.startswith("latent."))
    assert start.dim == DIM


def test_seeds_differ():
    assert not torch.equal(state(NumbersNetwork(101, 0)), state(NumbersNetwork(101, 1)))
