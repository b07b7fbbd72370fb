"""A loaded conformance client that forks for each scenario, so that each one has a process of its own.

python -m conformance.client_host PORT
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socketserver
import sys
import traceback

from conformance.client import main

AT_ONCE = 4


class _Scenario(socketserver.StreamRequestHandler):
    """One scenario, in a child of its own."""

    def handle(self) -> None:
        line = self.rfile.readline()
        if not line:
            return  # somebody looked whether we are here
        told = json.loads(line)
        os.environ.update(told["environment"])
        said = io.StringIO()
        code = 1
        with contextlib.redirect_stderr(said):
            try:
                code = main(told["url"])
            except BaseException:  # whatever it is, the suite wants it told, and the child ends here
                traceback.print_exc()
        self.wfile.write(json.dumps({"code": code, "said": said.getvalue()}).encode())


class _Host(socketserver.ForkingMixIn, socketserver.TCPServer):
    max_children = AT_ONCE
    request_queue_size = 128
    allow_reuse_address = True


if __name__ == "__main__":
    with _Host(("127.0.0.1", int(sys.argv[1])), _Scenario) as host:
        host.serve_forever()
