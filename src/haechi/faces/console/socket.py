"""`GET /api/live`: one connection of the live feed; a client may not stop reading for long. Routed by `routes.py`."""

import asyncio
import contextlib
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from haechi.core.errors import Busy, Unavailable
from haechi.faces.console.live import Client, LiveHub
from haechi.faces.http import person_of
from haechi.services.users.accounts import Accounts

NOT_READING_S = 30.0
GOODBYE_S = 2.0
ASK_AGAIN_S = 30.0  # is the session still good? Also what keeps the session of a wall display alive
ABORT = "haechi.abort"  # ASGI extension: the function that drops the connection at once

BAD_MESSAGE, TRY_LATER, LOGGED_OUT, TOO_SLOW = 1008, 1013, 4401, 4408


class AbortableWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket with a way to drop a peer that does not read: closing waits for it to read, for ever.

    `app.py` passes it as `uvicorn.Config(ws=AbortableWebSocket)`.
    """

    def handle_connect(self, event: Any) -> None:
        """Offers the extension to the application, which starts after this returns."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][ABORT] = {"abort": self.transport.abort}


class _Watch(msgspec.Struct, tag="watch", tag_field="type", forbid_unknown_fields=True):
    domains: list[str] | None = None
    entities: list[str] | None = None


async def serve(socket: WebSocket, hub: LiveHub, accounts: Accounts, limits_s: tuple[float, float]) -> None:
    """Runs one connection to its end. `limits_s`: may not read for that long, session asked again after that long."""
    await socket.accept()
    try:
        client, hello = hub.join()
    except Busy as error:
        await _close(socket, TRY_LATER, str(error))
        return
    tasks = {
        asyncio.ensure_future(_send(socket, hub, client, hello, limits_s[0])),
        asyncio.ensure_future(_receive(socket, client)),
        asyncio.ensure_future(_session(socket, accounts, limits_s[1])),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ending = next((task.result() for task in done), None)
    except WebSocketDisconnect:
        ending = None
    finally:
        hub.leave(client)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if ending is not None:
        await _close(socket, *ending)


Ending = tuple[int, str]


async def _send(socket: WebSocket, hub: LiveHub, client: Client, hello: str, patience_s: float) -> Ending:
    try:
        await _send_text(socket, hello, patience_s)
        while True:
            await client.wake.wait()
            client.wake.clear()
            for text in hub.messages(client):
                await _send_text(socket, text, patience_s)
    except TimeoutError:
        return TOO_SLOW, f"nothing was read for {patience_s:g} s; connect again"
    except Unavailable as error:
        return TOO_SLOW, str(error)


async def _send_text(socket: WebSocket, text: str, patience_s: float) -> None:
    async with asyncio.timeout(patience_s):
        await socket.send_text(text)


async def _receive(socket: WebSocket, client: Client) -> Ending:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        try:
            watch = msgspec.json.decode(message.get("text") or message.get("bytes") or b"", type=_Watch)
        except msgspec.MsgspecError as error:
            return BAD_MESSAGE, f'send {{"type": "watch", "domains": [...], "entities": [...]}}: {error}'[:120]
        client.watch(*(None if one is None else frozenset(one) for one in (watch.domains, watch.entities)))


async def _session(socket: WebSocket, accounts: Accounts, every_s: float) -> Ending:
    person = person_of(socket)
    while True:
        await asyncio.sleep(every_s)
        if await accounts.who_session(person.session) is None:
            return LOGGED_OUT, "the session ended; log in again"


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    offered = socket.scope.get("extensions", {}).get(ABORT)
    if offered:
        # A peer that reads gets the reason and is gone by then; one that does not is dropped with what waits for it.
        asyncio.get_running_loop().call_later(GOODBYE_S, offered["abort"])
    with contextlib.suppress(TimeoutError, WebSocketDisconnect):
        async with asyncio.timeout(GOODBYE_S):
            await socket.close(code, reason.encode()[:120].decode(errors="ignore"))
