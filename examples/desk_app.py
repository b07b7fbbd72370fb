"""An application for people: it sends a person to sign in and decide, and gets a token that is theirs.

`python desk_app.py` prints an address to open in a browser, and waits for the person to come back.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

ISSUER = "http://127.0.0.1:8420"
CALENDAR = "http://127.0.0.1:8420/mcp/calendar"
CLIENT_ID = "desk-app"
CALLBACK = "http://127.0.0.1:3955/callback"


def ask_person() -> tuple[str, str]:
    """Print where to go, wait for the answer, and give the code with the verifier that belongs to it."""
    verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    question = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "resource": CALENDAR,
        "scope": "calendar:read calendar:write",
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    print(f"open {ISSUER}/authorize?{urlencode(question)}", flush=True)
    answer = wait_for_callback()
    if answer.get("state") != state or answer.get("iss") != ISSUER:
        raise SystemExit("this is not the answer to our question")
    if "error" in answer:
        raise SystemExit(f"not allowed: {answer['error']}")
    return answer["code"], verifier


def wait_for_callback() -> dict[str, str]:
    """The parameters with which the browser comes back."""
    answer: dict[str, str] = {}

    class Callback(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer.update({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"Go back to the application.\n")

        def log_message(self, *_: object) -> None:
            pass  # the request line holds the code

    with HTTPServer(("127.0.0.1", 3955), Callback) as server:
        while not answer:
            server.handle_request()
    return answer


async def use(code: str, verifier: str) -> None:
    """Redeem the code, and look at the calendar for this person."""
    redeeming = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": CALLBACK,
        "resource": CALENDAR,
    }
    async with httpx2.AsyncClient() as http:
        granted = (await http.post(f"{ISSUER}/token", data=redeeming)).raise_for_status().json()
    print(f"granted: {granted['scope']}, for {granted['expires_in']} s")
    bearer = {"authorization": f"Bearer {granted['access_token']}"}
    async with (
        httpx2.AsyncClient(headers=bearer) as http,
        Client(streamable_http_client(CALENDAR, http_client=http)) as calendar,
    ):
        listed = await calendar.call_tool("list_events", {"day": "monday"})
        print(listed.content[0].text)


if __name__ == "__main__":
    asyncio.run(use(*ask_person()))
