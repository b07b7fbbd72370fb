"""A small stdio server, written by hand so that it can misbehave; run as a script, on the standard library alone.

`python stdio_server.py modern|legacy|both [FLAG...]`: which era it speaks, and how it misbehaves: `--deaf` ignores the
end of its input and SIGTERM, `--dies` does not survive a question that it does not know, `--silent` does not answer
one, `--stalls=FILE` answers a client's handshake when there is this file. It runs every call in a thread of its own,
and reads numbers as JavaScript does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

MODERN, LEGACY = "2026-07-28", "2025-11-25"
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"
HUGE = 17 * 1024 * 1024
MANY = 300_000

_writing = threading.Lock()
_changed = threading.Condition()
_cancelled: list[Any] = []
_responses: dict[Any, Any] = {}
_heard: list[str] = []
_subscriptions: list[Any] = []
_state = {"remembered": ""}


def say(message: dict[str, Any]) -> None:
    write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def write(octets: bytes) -> None:
    with _writing:
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()


def answer(rpc_id: Any, text: str) -> None:
    say({"id": rpc_id, "result": {"content": [{"type": "text", "text": text}], "resultType": "complete"}})


def progress(params: dict[str, Any], step: int, text: str) -> None:
    token = params.get("_meta", {}).get("progressToken")
    told = {"progressToken": token, "progress": step, "message": text}
    say({"method": "notifications/progress", "params": told})


def call(rpc_id: Any, params: dict[str, Any]) -> None:
    """One tool call, from its start to its answer, if there is one."""
    name, arguments = params["name"], params.get("arguments", {})
    text = str(arguments.get("text", ""))
    match name:
        case "echo":
            answer(rpc_id, text)
        case "count":
            for step in range(int(arguments["to"])):
                progress(params, step, text)
            answer(rpc_id, text)
        case "wait":
            progress(params, 0, text)
            until(lambda: rpc_id in _cancelled)
        case "stay_silent":
            pass
        case "wait_for":
            until(lambda: len(_cancelled) >= arguments.get("cancelled", 0))
            until(lambda: _heard.count("server/discover") >= arguments.get("discoveries", 0))
            answer(rpc_id, str(len(_cancelled)))
        case "cancelled":
            answer(rpc_id, str(len(_cancelled)))
        case "heard":
            answer(rpc_id, " ".join(_heard))
        case "pid":
            answer(rpc_id, str(os.getpid()))
        case "environment":
            answer(rpc_id, json.dumps(dict(os.environ)))
        case "remember":
            _state["remembered"] = text
            answer(rpc_id, "")
        case "recall":
            answer(rpc_id, _state["remembered"])
        case "start_child":
            child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            answer(rpc_id, str(child.pid))
        case "crash":
            os._exit(3)
        case "write_garbage":
            write(b'not JSON\n\n\xff\xfe\n[]\n{"jsonrpc":"2.0","id":null,"result":{}}\n{"id":1}\n')
            answer(rpc_id, "after garbage")
        case "write_many":
            say({"id": rpc_id, "result": {"content": [], "structuredContent": {"numbers": [1] * MANY}}})
            answer(rpc_id, "after many values")
        case "repeat":
            answer(rpc_id, text * int(arguments["times"]))
        case "write_much":
            write(b"x" * HUGE + b"\n")
            answer(rpc_id, "after a huge line")
        case "shout":
            say({"method": "notifications/message", "params": {"level": "info", "data": f"for one only: {text}"}})
            say({"method": "notifications/tools/list_changed"})
            say({"method": "notifications/progress", "params": {"progressToken": 10**6, "progress": 1}})
            say({"id": 10**6, "result": {"content": [{"type": "text", "text": text}]}})
            say({"id": "own", "method": "roots/list", "params": {}})
            answer(rpc_id, "")
        case "complain":
            print(f"{text}\x1b[2J\rof \u2028{os.getpid()}", file=sys.stderr, flush=True)
            answer(rpc_id, "")
        case "ask_back":
            asked = f"asked-{rpc_id}"
            say({"id": asked, "method": "sampling/createMessage", "params": {"text": text}})
            until(lambda: asked in _responses)
            answer(rpc_id, str(_responses[asked]))
        case "say_later":
            answer(rpc_id, "")
            say({"method": "notifications/message", "params": {"level": "info", "data": text}})
        case "change":
            for each in list(_subscriptions):
                meta = {"_meta": {SUBSCRIPTION_KEY: each}}
                say({"method": "notifications/resources/updated", "params": {"uri": text, **meta}})
            answer(rpc_id, "")
        case _:
            say({"id": rpc_id, "error": {"code": -32602, "message": "unknown tool"}})


def until(is_true: Any) -> None:
    with _changed:
        _changed.wait_for(is_true, timeout=30)


def read(message: dict[str, Any], era: str) -> None:
    """One message of the client."""
    rpc_id, method, params = message.get("id"), message.get("method"), message.get("params", {})
    with _changed:
        _changed.notify_all()
        match method:
            case None:
                _responses[rpc_id] = message.get("result")
                return
            case "notifications/cancelled":
                _cancelled.append(params.get("requestId"))
                if params.get("requestId") in _subscriptions:
                    _subscriptions.remove(params["requestId"])
                return
            case _ if "id" not in message:
                _heard.append(str(method))
                return
            case "subscriptions/listen":
                _subscriptions.append(rpc_id)
                meta = {"_meta": {SUBSCRIPTION_KEY: rpc_id}, "notifications": params["notifications"]}
                say({"method": "notifications/subscriptions/acknowledged", "params": meta})
                return
            case "server/discover":
                _heard.append(method)
    is_modern = VERSION_KEY in params.get("_meta", {})
    if method == "initialize" and params.get("clientInfo", {}).get("name") != "perhop-gateway":
        for file in (flag.removeprefix("--stalls=") for flag in sys.argv if flag.startswith("--stalls=")):
            while not os.path.exists(file):
                time.sleep(0.02)
    if method == "initialize" and era != "modern":
        about = {"protocolVersion": LEGACY, "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}}
        say({"id": rpc_id, "result": about})
    elif is_modern and era == "legacy" and "--dies" in sys.argv:
        os._exit(1)
    elif is_modern and era == "legacy" and "--silent" in sys.argv:
        pass
    elif method == "initialize" or (is_modern and era == "legacy"):
        say({"id": rpc_id, "error": {"code": -32601, "message": f"unknown method {method}"}})
    elif method == "server/discover":
        said = {"supportedVersions": [MODERN], "capabilities": {"tools": {}}, "resultType": "complete"}
        say({"id": rpc_id, "result": said})
    elif method == "tools/call":
        threading.Thread(target=call, args=(rpc_id, params), daemon=True).start()
    elif method == "tools/list":
        say({"id": rpc_id, "result": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}})
    else:
        say({"id": rpc_id, "error": {"code": -32601, "message": f"unknown method {method}"}})


def as_javascript(number: str) -> int | float:
    """Every number is one of double precision, and a whole one is written without a point."""
    value = float(number)
    return int(value) if value.is_integer() else value


def main() -> None:
    era, is_deaf = sys.argv[1], "--deaf" in sys.argv
    if is_deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        read(json.loads(line, parse_int=as_javascript, parse_float=as_javascript), era)
    while is_deaf:
        time.sleep(60)


if __name__ == "__main__":
    main()
