"""Serve one request in a fresh process that is killed while it replaces a checkpoint."""

import json
import os
import signal
import sys
from pathlib import Path

from ml.worker import serve


def main(framework, request, saves):
    """Die by SIGKILL with so many checkpoints written and the next one still beside them."""
    replace, left = Path.replace, int(saves)

    def replace_or_die(path, target):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return replace(path, target)

    Path.replace = replace_or_die
    serve(framework, "train", json.dumps(json.loads(Path(request).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
