"""One session with one OPC UA server: opened or taken up again, read, written, subscribed. Used by the adapter.

Requests and frames are asyncua's. Its publish loop and its reconnecting are not used: it acknowledges what it hands
over, we what is on the log. Clauses are of OPC 10000-4.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_session import UaSession
from asyncua.common.utils import Buffer
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaError, UaStatusCodeError
from cryptography.exceptions import InvalidSignature

from haechi.core.errors import HaechiError, NotFound, NotSupported, Refused, Unavailable
from haechi.plugins.wire.opcua.changes import Change, Publication, publication, republished, values
from haechi.plugins.wire.opcua.peer import Item, Pace, Server
from haechi.plugins.wire.opcua.security import POLICIES, Identity, believed, chosen, keep, password

ABOUT = ("i=2255", "i=11714", "i=11705")  # NamespaceArray, MaxMonitoredItemsPerCall, MaxNodesPerRead
ITEMS, NOTIFICATIONS = 500, 5_000  # in one request, in one publish response
KEEP_ALIVE_MS = 5_000.0  # a server with nothing to say says so this often
FOR_EVER = 0.0  # as asyncua says it
RENEW = 0.75  # of the channel's life: 5.5.2.1
USER = {StatusCodes.BadUserAccessDenied, StatusCodes.BadIdentityTokenRejected, StatusCodes.BadIdentityTokenInvalid}
CERTIFICATE = {
    StatusCodes.BadSecurityChecksFailed,
    StatusCodes.BadCertificateUntrusted,
    StatusCodes.BadCertificateInvalid,
}
CERTIFICATE |= {
    StatusCodes.BadCertificateUriInvalid,
    StatusCodes.BadCertificateUseNotAllowed,
    StatusCodes.BadSecurityPolicyRejected,
}
FILTER = {
    StatusCodes.BadFilterNotAllowed,
    StatusCodes.BadMonitoredItemFilterUnsupported,
    StatusCodes.BadDeadbandFilterInvalid,
}


class _Session(UaSession):
    """Publishing is done by `Session.publish`."""

    def ensure_publish_loop(self) -> None:
        pass

    async def ask(self, request: Any, timeout_s: float | None = None) -> Buffer:
        """The answer as it came."""
        return await self._send_request(request, timeout_s)


class Session:
    """Between `open` and `drop`. Every method raises errors of `core.errors` only."""

    def __init__(self, server: Server, pace: Pace, folder: Path, identity: Identity) -> None:
        self.server, self.identity = server, identity
        self.patience_s = max(KEEP_ALIVE_MS, pace.publishing_ms) / 1000 + pace.timeout_s  # for what is published
        self._pace, self._folder = pace, folder
        self._state = folder / "sessions" / f"{server.id}.json"
        self._client = Client(server.url, pace.timeout_s)
        self._session = _Session(self._client.uaclient)
        self._namespaces: list[str] = []
        self._items_most = self._nodes_most = ITEMS  # in one request, as the server bears it
        self.subscription = 0

    async def open(self, now: datetime, plan: str) -> bool:
        """Connects; whether the session and the subscription of `plan` we had before are taken up again (6.7)."""
        with _plainly(self):
            offered = await Client(self.server.url, self._pace.timeout_s).connect_and_get_server_endpoints()
            endpoint = chosen(self.server, offered)
            self._client = await self._made(endpoint, now)
            await self._client.connect_socket()
            await self._client.send_hello()
            await self._client.open_secure_channel()
            taken_up = await self._take_up(plan)
            if not taken_up:
                await self._client.create_session()
                await self._activate()
            self._save(plan)
            about = [one.value for one in await self.read(ABOUT)]
            self._namespaces = about[0] or []
            self._items_most, self._nodes_most = (min(one or ITEMS, ITEMS) for one in about[1:])
        return taken_up

    async def _made(self, endpoint: ua.EndpointDescription, now: datetime) -> Client:
        client = Client(self.server.url, self._pace.timeout_s)
        client.name, client.product_uri = "Haechi", "urn:haechi"
        client.application_uri = self.identity.uri
        client.session_timeout = int(self._pace.keep_s * 1000)
        self._session = client.uaclient.session = _Session(client.uaclient)
        client._policy_ids = endpoint.UserIdentityTokens  # a session taken up again is not told them
        if self.server.security != "None":
            der = believed(self.server, endpoint.ServerCertificate, self._folder, now)
            own = str(self.identity.certificate), str(self.identity.key)
            policy, mode = POLICIES[self.server.security], endpoint.SecurityMode
            await client.set_security(policy, *own, server_certificate=der, mode=mode)
        if self.server.user:
            client.set_user(self.server.user)
            client.set_password(password(self.server, self._folder))
        return client

    async def _activate(self) -> None:
        await self._client.activate_session(self._client._username, self._client._password)

    async def _take_up(self, plan: str) -> bool:
        try:
            state = json.loads(self._state.read_text("utf-8"))
            token, nonce = ua.NodeId.from_string(state["token"]), bytes.fromhex(state["nonce"])
            same, subscription = state["plan"] == plan, int(state["subscription"])
            patience_s = float(state["patience_s"])
        except (OSError, ValueError, KeyError, TypeError, UaError):
            return False
        self._session.restore_authentication_token(token)
        self._client._server_nonce = nonce  # type: ignore[assignment] # asyncua lets its type be guessed
        try:
            await self._activate()
        except UaStatusCodeError:
            self._session.reset_authentication_token()
            return False
        if not same or not subscription:
            await self._session.close_session(True)  # small servers have few sessions to give
            return False
        self.subscription, self.patience_s = subscription, patience_s
        return True

    def _save(self, plan: str) -> None:
        """What is needed to take the session up again, also after a kill; the token is a secret."""
        self._state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        token, nonce = self._session.authentication_token, self._client._server_nonce or b""
        state = {"token": token.to_string(), "nonce": nonce.hex(), "plan": plan, "subscription": self.subscription}
        keep(self._state, json.dumps({**state, "patience_s": self.patience_s}).encode())

    def forget(self) -> None:
        """The session is not taken up again: what it knew is gone at the server."""
        self._state.unlink(missing_ok=True)

    async def renew_for_ever(self) -> None:
        """The channel's keys change before their life ends."""
        while True:
            await asyncio.sleep(self._client.secure_channel_timeout / 1000 * RENEW)
            with _plainly(self):
                await self._client.open_secure_channel(renew=True)
                self._client.uaclient.revolve_security_token()

    def drop(self) -> None:
        """Closes the socket; the server keeps session and subscription for `keep_s`."""
        self._client.disconnect_socket()

    def id_of(self, node: str) -> ua.NodeId:
        """The node id, a namespace's URI looked up; `NotFound` when the server has no such namespace."""
        head, _, rest = node.partition(";")
        if not head.startswith("nsu="):
            return ua.NodeId.from_string(node)
        if head[4:] not in self._namespaces:
            raise NotFound(f"{self.server.id} has no namespace {head[4:]}; mend the node id")
        return ua.NodeId.from_string(f"ns={self._namespaces.index(head[4:])};{rest}")

    # --- subscribing (5.12, 5.13) ---

    async def subscribe(self, plan: str) -> None:
        """Makes the subscription; `NotSupported` when the server has none to give."""
        every = self._pace.publishing_ms
        alive = max(1, round(KEEP_ALIVE_MS / every))
        life = max(3 * alive, round(self._pace.keep_s * 1000 / every))
        wanted = ua.CreateSubscriptionParameters(every, life, alive, NOTIFICATIONS, True, 0)
        with _plainly(self):
            try:
                made = await self._session.create_subscription(wanted, lambda result: None)
            except UaStatusCodeError as error:
                raise NotSupported(f"{self.server.id} gives no subscription: {name_of(error.code)}") from error
        self.subscription = made.SubscriptionId
        self.patience_s = made.RevisedPublishingInterval * made.RevisedMaxKeepAliveCount / 1000
        self.patience_s += self._pace.timeout_s
        self._save(plan)

    async def monitor(self, items: Sequence[Item]) -> dict[int, str]:
        """Adds items to the subscription; the names of the codes of those refused, by handle."""
        codes: dict[int, int] = {}
        for some in _parts(items, self._items_most):
            codes |= await self._monitor(some)
        for some in _parts(
            [replace(one, deadband=0.0) for one in items if codes[one.handle] in FILTER], self._items_most
        ):
            codes |= await self._monitor(some)
        return {handle: name_of(code) for handle, code in codes.items() if code >> 30 > 1}

    async def _monitor(self, items: Sequence[Item]) -> dict[int, int]:
        wanted, both = [self._request(one) for one in items], ua.TimestampsToReturn.Both
        with _plainly(self):
            asked = ua.CreateMonitoredItemsParameters(ua.IntegerId(self.subscription), both, wanted)
            made = await self._session.create_monitored_items(asked)
        return {one.handle: int(found.StatusCode.value) for one, found in zip(items, made, strict=True)}

    def _request(self, item: Item) -> ua.MonitoredItemCreateRequest:
        change = ua.DataChangeFilter(ua.DataChangeTrigger.StatusValue, ua.DeadbandType.None_, 0.0)
        if item.every_sample:
            change.Trigger = ua.DataChangeTrigger.StatusValueTimestamp
        if item.deadband:
            change.DeadbandType, change.DeadbandValue = ua.DeadbandType.Absolute, item.deadband
        wanted = ua.MonitoringParameters(item.handle, item.sampling_ms, change, item.queue, True)
        return ua.MonitoredItemCreateRequest(_value(self.id_of(item.node)), ua.MonitoringMode.Reporting, wanted)

    async def publish(self, stored: Sequence[int]) -> Publication:
        """The next notification or sign of life; `stored` are sequence numbers the server may forget."""
        acks = [ua.SubscriptionAcknowledgement(ua.IntegerId(self.subscription), one) for one in stored]
        with _plainly(self):
            try:
                async with asyncio.timeout(self.patience_s):
                    asked = ua.PublishRequest()
                    asked.Parameters.SubscriptionAcknowledgements = acks
                    return publication(await self._session.ask(asked, FOR_EVER))
            except UaStatusCodeError:  # BadNoSubscription and the like
                self.forget()
                raise

    async def republish(self, number: int) -> Publication | None:
        """A notification sent before that did not come; None when the server has forgotten it."""
        with _plainly(self):
            try:
                parameters = ua.RepublishParameters(ua.IntegerId(self.subscription), ua.Counter(number))
                return republished(await self._session.ask(ua.RepublishRequest(Parameters=parameters)))
            except UaStatusCodeError as error:
                if error.code == StatusCodes.BadMessageNotAvailable:
                    return None
                raise

    # --- reading and writing (5.10) ---

    async def read(self, nodes: Sequence[str]) -> list[Change]:
        """Their values, in order, from the source; handles mean nothing."""
        found: list[Change] = []
        with _plainly(self):
            for some in _parts(nodes, self._nodes_most):
                wanted = [_value(self.id_of(one)) for one in some]
                parameters = ua.ReadParameters(0.0, ua.TimestampsToReturn.Both, wanted)
                found += values(await self._session.ask(ua.ReadRequest(Parameters=parameters)))
        return found

    async def write(self, node: str, value: ua.Variant, what: str) -> None:
        """`Refused` quotes the server. Value only: most servers refuse to be told time and status."""
        wanted = ua.WriteValue(self.id_of(node), AttributeIds.Value, None, ua.DataValue(value, None))
        with _plainly(self):
            (code,) = await self._session.write(ua.WriteParameters([wanted]))
        if not code.is_good():
            raise Refused(f"{what}: the server answers {code.name}")


def _parts(all_: Sequence[Any], most: int) -> list[Sequence[Any]]:
    return [all_[start : start + most] for start in range(0, len(all_), most)]


def _value(id: ua.NodeId) -> ua.ReadValueId:
    return ua.ReadValueId(id, AttributeIds.Value)


def name_of(code: int) -> str:
    """The standard's name of a StatusCode."""
    return ua.StatusCode(ua.UInt32(code)).name


@contextmanager
def _plainly(session: Session) -> Iterator[None]:
    """asyncua's errors as ours."""
    server = session.server
    try:
        yield
    except HaechiError:
        raise
    except UaStatusCodeError as error:
        if error.code in USER:
            mend = f"mend user or {server.password_file}" if server.user else "give a user"
            raise Refused(f"{server.id} refuses the user ({name_of(error.code)}); {mend}") from error
        if error.code in CERTIFICATE:
            mend = f"trust {session.identity.certificate} there"
            raise Refused(f"{server.id} refuses our certificate ({name_of(error.code)}); {mend}") from error
        raise Unavailable(f"{server.id} answers {name_of(error.code)}; is it well?") from error
    except InvalidSignature as error:
        raise Refused(
            f"{server.id} cannot prove that its certificate is its own; find out who answers there"
        ) from error
    except AssertionError as error:  # asyncua's, when a server answers the wish for a channel with a fault
        mend = f"trust {session.identity.certificate} there"
        raise Refused(f"{server.id} opens no channel: it refuses our certificate, or everyone; {mend}") from error
    except (OSError, TimeoutError, UaError) as error:
        what = "no answer in time" if isinstance(error, TimeoutError) else f"the connection was lost: {error!r}"
        raise Unavailable(f"{server.id}: {what}; is {server.url} right, the server on?") from error
