"""A PLC on Modbus TCP that remembers what it was told and what it showed. Used by the fault runs.

Of the protocol it knows what the platform asks: reading holding registers (3) and writing one (6). Register 0 is what
an operator sets, register 1 counts how often it was read.
"""

import contextlib
import socketserver
import struct
import threading

FIRST = 300


class Plc:
    """Serves until the end of the block. `mute`: it does what it is told and answers nothing; `mute_once_told`: from
    its next setpoint on."""

    def __init__(self, port: int) -> None:
        self.port, self.mute, self.off = port, False, False
        self.mute_once_told = False
        self.held, self.count = FIRST, 0
        self.writes: list[int] = []
        self.shown: set[int] = {FIRST}
        self._lock = threading.Lock()

    def __enter__(self) -> "Plc":
        plc = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    while head := _exactly(self.request, 8):
                        rest = _exactly(self.request, struct.unpack("!H", head[4:6])[0] - 2)
                        if plc.off:
                            return
                        body = plc.answer(head[7], rest)
                        if not plc.mute:
                            frame = struct.pack("!4sHB", head[:4], len(body) + 1, head[6]) + body
                            self.request.sendall(frame)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.switch_off()

    def switch_off(self) -> None:
        """For good. Twice is once."""
        self.off = True
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, function: int, body: bytes) -> bytes:
        """The PDU that answers this one."""
        address, value = struct.unpack("!HH", body[:4])
        with self._lock:
            if function == 6 and address == 0:
                self.mute = self.mute or self.mute_once_told
                self.writes.append(value)
                self.held = value
                self.shown.add(value)
                return bytes([6]) + body
            if function == 3 and address + value <= 2:
                self.count += 1
                registers = (self.held, self.count)[address : address + value]
                return bytes([3, 2 * value]) + struct.pack(f"!{value}H", *registers)
        return bytes([function | 0x80, 2])  # illegal data address


def _exactly(peer: object, size: int) -> bytes:
    """That many bytes; fewer when the peer is gone."""
    found = b""
    while len(found) < size and (more := peer.recv(size - len(found))):  # type: ignore[attr-defined]
        found += more
    return found if len(found) == size else b""
