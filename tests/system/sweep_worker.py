"""Answer the sweep request of a folder, in a process that is there to be killed."""

import json
import sys
from pathlib import Path

from ml.registry import entry_point

folder = Path(sys.argv[1])
payload = json.loads((folder / "payload.json").read_text())
response = entry_point("pytorch").handle_sweep_request(payload)
(folder / "response.json").write_text(json.dumps(response))
