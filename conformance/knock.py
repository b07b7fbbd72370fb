"""The command that the suite starts for each scenario: it hands its environment to a client that is loaded already.

Loading the SDK costs seconds, and the suite starts dozens of clients at once. This file imports next to nothing.

    python -S conformance/knock.py PORT URL
"""

import json
import os
import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as host:
    told = {name: value for name, value in os.environ.items() if name.startswith("MCP_CONFORMANCE_")}
    host.sendall(json.dumps({"url": sys.argv[2], "environment": told}).encode() + b"\n")
    answer = json.loads(b"".join(iter(lambda: host.recv(65536), b"")))
sys.stderr.write(answer["said"])
sys.exit(answer["code"])
