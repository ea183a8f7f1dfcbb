"""Serve requests one after another in a fresh process, as a worker does."""

import json
import sys
from pathlib import Path

from harness.execute import remote


def main(framework, folder, number):
    """Read the requests of a file, answer each in turn, and write the answers to another."""
    place = Path(folder)
    remote.start(str(place / f"{number}.log"))
    requests = json.loads((place / f"{number}.requests").read_text())
    answers = [
        json.loads(remote.call("ml.worker", framework, "train", json.dumps(request)))
        for request in requests
    ]
    (place / f"{number}.answers").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])
