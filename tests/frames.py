"""Make the tables that checks of data are tested on."""

import numpy as np


def make_frame(seed, rows=500):
    import pandas as pd

    draw = np.random.default_rng(seed)
    size = draw.standard_normal(rows)
    return pd.DataFrame(
        {
            "size": size,
            "price": size + 0.5 * draw.standard_normal(rows),
            "rooms": draw.integers(1, 7, rows),
            "city": draw.choice(["Rome", "Oslo", "Bonn", "Lima"], rows, p=[0.6, 0.25, 0.1, 0.05]),
            "sold": draw.random(rows) < 0.3,
        }
    )
