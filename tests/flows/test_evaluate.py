"""What the evaluation flow publishes, without a server."""

import numpy as np
import pytest

from flows import evaluate
from kline_core.evaluation.evaluate import evaluate_frame
from tests.support.made_markets import noise_market, slow_values


@pytest.mark.slow
def test_report_and_pictures_are_published(monkeypatch):
    pages, pictures = {}, {}
    monkeypatch.setattr(evaluate, "create_markdown_artifact", lambda text, key, **_: pages.update({key: text}))
    monkeypatch.setattr(evaluate, "show_picture", lambda png, key, _: pictures.update({key: png}))
    market = noise_market(51, symbols=2, sessions=30)
    values = slow_values(51, market)
    found = evaluate_frame(market.rows(values), market.frames)
    evaluate.publish_evaluation.fn(found)
    assert pages == {"evaluate-report": found.markdown()}
    assert set(pictures) == {"evaluate-picture", "evaluate-decay", "evaluate-reliability"}
    assert all(png.startswith(b"\x89PNG") for png in pictures.values())
    # Values that are no win rates have no reliability; how far the rank IC reaches they have.
    pictures.clear()
    evaluate.publish_evaluation.fn(evaluate_frame(market.rows(values + 5 * np.sign(values)), market.frames))
    assert set(pictures) == {"evaluate-picture", "evaluate-decay"}
