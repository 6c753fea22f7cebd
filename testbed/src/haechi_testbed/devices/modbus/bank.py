"""Modbus TCP units behind one gateway address: what each holds, who may write it, and silence. Used by parts.

The frames are pymodbus'; a unit that is silent is answered for by the gateway with exception 11 (Modbus Application
Protocol V1.1b3, clause 7: gateway target device failed to respond), as a serial gateway does.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

RETRY_S = 2.0
COILS = 16
TABLES: Mapping[int, str] = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 15: "coil"}
TABLES = {**TABLES, 6: "holding", 16: "holding", 22: "holding", 23: "holding"}
Written = Callable[[str, int, Sequence[int]], None]
"""Table, address and what was written; ValueError when the device does not take that value."""


class Unit:
    """One device. `words`: what its tables hold now; a bit of `coil` is 0 or 1."""

    def __init__(self, number: int, sizes: Mapping[str, int], written: Written) -> None:
        """`sizes`: how many addresses each of its tables has, from 0; a table that is missing has one."""
        self.number, self.silent = number, False
        self.answered = 0
        self._written = written
        self.words = {table: [0] * sizes.get(table, 1) for table in ("discrete", "holding", "input")}
        self.words["coil"] = [0] * COILS

    def show(self, table: str, address: int, words: Sequence[int]) -> None:
        """What it holds from now on."""
        self.words[table][address : address + len(words)] = words

    def device(self) -> SimDevice:
        """As pymodbus wants it."""
        bits = [SimData(0, values=[False] * COILS, datatype=DataType.BITS)]
        holding = [SimData(0, values=self.words["holding"], datatype=DataType.REGISTERS)]
        inputs = [SimData(0, values=self.words["input"], datatype=DataType.REGISTERS)]
        return SimDevice(self.number, simdata=(bits, list(bits), holding, inputs), action=self._asked)

    async def _asked(
        self, function: int, start: int, address: int, count: int, held: list[int], given: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        """Called by pymodbus before it answers: `held` becomes what we show, `given` goes to the device."""
        if self.silent:
            return ExcCodes.GATEWAY_NO_RESPONSE
        table = TABLES.get(function, "holding")
        self.answered += 1
        if given is not None:
            try:
                self._written(table, address, [int(one) for one in given])
            except ValueError:
                return ExcCodes.ILLEGAL_VALUE
        words = self.words[table]
        if table == "coil":
            held[0] = sum(bit << place for place, bit in enumerate(words))
        elif table != "discrete":
            held[: len(words)] = words
        return None


class Bank:
    """A gateway's address with its units behind it; a port that is taken is tried again until it is free."""

    def __init__(self, units: Sequence[Unit], host: str, port: int) -> None:
        """Nothing is opened before `start`."""
        self.units, self._host, self.port = units, host, port
        self.trouble = ""
        self._server: ModbusTcpServer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens, or says on stderr why not and tries on."""
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what it refuses, the asker is told
        if not await self._listen():
            print(f"{self.trouble}; trying on", file=sys.stderr, flush=True)
            self._task = asyncio.create_task(self._try_on())

    async def _try_on(self) -> None:
        while not await self._listen():  # noqa: ASYNC110 - the port is freed by another process
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> bool:
        devices = [one.device() for one in self.units]
        server = ModbusTcpServer(devices, address=(self._host, self.port))
        try:
            await server.serve_forever(background=True)
        except (RuntimeError, OSError) as error:
            self.trouble = f"Modbus devices cannot listen on {self._host}:{self.port}: {error}"
            return False
        self._server, self.trouble = server, ""
        sockets = getattr(server.transport, "sockets", ())  # what pymodbus calls transport is asyncio's server
        self.port = next((one.getsockname()[1] for one in sockets), self.port)
        return True

    @property
    def answered(self) -> int:
        """Requests that were answered with values so far."""
        return sum(one.answered for one in self.units)

    async def stop(self) -> None:
        """Hangs up on everyone."""
        if self._task is not None:
            self._task.cancel()
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]
