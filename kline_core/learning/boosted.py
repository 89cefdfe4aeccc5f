"""The yardstick of what is learned: a gradient-boosted model that is taught the same ranks, from the same windows.

`kline_core.baselines.boosting` is taught returns. Which of the two targets serves such a model better was not known
before; so both stand beside the learned factor.
"""

import numpy as np

from kline_core.baselines.boosting import boosted, features
from kline_core.learning.inputs import Windows
from kline_core.learning.protocol import LoadedStudy
from kline_core.typing import Floats64


def boosted_ranks(loaded: LoadedStudy) -> Floats64:
    """Predicted mean ranks of the m usable samples: float64 (m,), NaN of years that no fold answers.

    Raises ImportError without scikit-learn.
    """
    taught = loaded.taught
    asked = Windows.of_samples(loaded.state.frames, loaded.samples, taught.windows.window_bars)
    found = np.full(len(asked), np.nan)
    for fold in loaded.folds.values():
        seen = features(*taught.windows.part(fold.learned).named)
        found[fold.samples] = boosted(seen, taught.outcome[fold.learned], features(*asked.part(fold.samples).named))
    return found
