"""One line for a device with a wrong secret, not one for each of its tries. Around the gateway's registry."""

from collections.abc import Callable

import structlog

from haechi.ports import Registry

AGAIN_S = 600.0  # a device that keeps trying is named again after that long
DEVICES = 1_000  # remembered at once

_events = structlog.get_logger("gateway")


class LoudRegistry:
    """`ports.Registry` that tells of refusals. `monotonic` gives seconds."""

    def __init__(self, registry: Registry, monotonic: Callable[[], float]) -> None:
        self._registry, self._monotonic = registry, monotonic
        self._told: dict[tuple[str, str], float] = {}

    def verify(self, device: str, secret: str, link: str) -> bool:
        """As the registry; says when it is no."""
        good = self._registry.verify(device, secret, link)
        if not good:
            # What a stranger gives as its name may be anything, even a secret: only names of ours are written down.
            self._tell(device if self._registry.knows(device, link) else "unknown", link)
        return good

    def knows(self, device: str, link: str) -> bool:
        """As the registry."""
        return self._registry.knows(device, link)

    def _tell(self, device: str, link: str) -> None:
        now = self._monotonic()
        if now - self._told.get((device, link), -AGAIN_S) < AGAIN_S:
            return
        if len(self._told) >= DEVICES:
            self._told.clear()
        self._told[device, link] = now
        hint = "wrong secret: `haechi device issue` makes a new one"
        _events.warning("device_refused", device=device, link=link, hint=hint)
