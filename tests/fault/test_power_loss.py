"""The power fails in the middle of a burst: what was acknowledged is there afterwards, as `--durability` promises.

The disk is ext4 on a loop device whose file system is shut down at one instant without writing its journal (as xfstests
do it): whatever was not synced by then is gone. What a disk's own volatile cache would lose besides is not modelled.
"""

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_disk import missing
from fault_faults import Saboteur, Scene
from fault_kinds import Fault
from fault_plan import BEFORE_MS, Plan, Send
from fault_run import scene_of
from fault_senders import MqttSender, Stage, Timeline
from fault_shown import history, settled

from haechi.testing.platform import Platform

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "a disk of its own is there")]
BURST_MS, EACH_MS, LOST_MS = 4_000, 4, 3_000
HEARD_LATE_S = -0.5  # an acknowledgement from before the loss may be noted after it
LAST_SECOND_S = 2.0  # the log syncs once a second; the sync itself takes time on a busy machine


@dataclass(frozen=True, slots=True)
class Loss:
    """What a burst with a power loss left: seconds before the loss at which each lost observation was acknowledged."""

    acknowledged: int
    before: int  # of them before the loss
    lost_s: list[float]
    doubled: int
    invented: int
    unsynced_there: bool
    synced_there: bool
    account: str


def burst(durability: str, folder: Path) -> Loss:
    """A device sends 250 a second, the power fails, everything starts again, the device goes on where it was."""
    loss = Fault(LOST_MS, "unplug", "disk")
    plan = Plan(0, BURST_MS, (), (loss,), (), (), durability=durability)
    with contextlib.ExitStack() as stack:
        scene = scene_of(stack, plan, folder)
        scene.plc.switch_off()
        stage = Stage(scene.platform, int(time.time()) * 1000, Timeline(time.monotonic()))
        at = range(0, BURST_MS, EACH_MS)
        sends = [Send(ms, "a", "P-1", number * 100 - BEFORE_MS, 300.0) for number, ms in enumerate(at)]
        sender, saboteur = MqttSender(stage, sends), _Saboteur(scene, plan, stage.time)
        for thread in (sender, saboteur):
            thread.start()
        for thread in (sender, saboteur):
            thread.join()
        assert sender.error is None and saboteur.error is None, (sender.error, saboteur.error)
        return _found(scene, stage, sender, saboteur)


class _Saboteur(Saboteur):
    """Writes two files before it pulls the plug: one synced, one not. The second proves that things are forgotten."""

    lost_at = 0.0

    def _do(self, fault: Fault) -> None:
        for name in ("synced", "unsynced"):
            with (self._platform.data / name).open("wb") as file:
                file.write(b"x" * 4096)
                file.flush()
                if name == "synced":
                    os.fsync(file.fileno())
        self.lost_at = time.monotonic()
        super()._do(fault)


def _found(scene: Scene, stage: Stage, sender: MqttSender, saboteur: _Saboteur) -> Loss:
    platform = scene.platform
    platform.wait_for(lambda: settled(platform, 0.3), 60, f"does not settle: {saboteur.journal}")
    rows = history(platform, stage.row(sender.sends[0]).entity, "pressure")
    there = set(rows)
    lost = [at for one, at in sender.acknowledged_at.items() if stage.row(one) not in there]
    account = platform.command("account", "--data", str(platform.data))
    return Loss(
        acknowledged=len(sender.acknowledged),
        before=sum(at < saboteur.lost_at for at in sender.acknowledged_at.values()),
        lost_s=sorted(saboteur.lost_at - at for at in lost),
        doubled=len(rows) - len(there),
        invented=len(there - {stage.row(one) for one in sender.sends}),
        unsynced_there=_whole(platform, "unsynced"),
        synced_there=_whole(platform, "synced"),
        account=f"{account.stdout}{account.stderr}",
    )


def _whole(platform: Platform, name: str) -> bool:
    file = platform.data / name
    return file.exists() and file.stat().st_size == 4096


@pytest.mark.parametrize("durability", ["disk", "os"])
def test_after_a_power_loss_everything_acknowledged_is_there_but_for_the_last_second_of_os(
    durability: str, tmp_path: Path
) -> None:
    loss = burst(durability, tmp_path)
    shown = json.dumps({name: getattr(loss, name) for name in Loss.__dataclass_fields__}, indent=1)
    assert loss.synced_there and not loss.unsynced_there, f"the disk forgets nothing, or too much: {shown}"
    assert loss.before > 100 and loss.acknowledged == BURST_MS // EACH_MS, shown
    # A machine without power confirms nothing more; this one does, for what it wrote to a disk that was gone by then.
    assert durability == "os" or all(one <= 0 for one in loss.lost_s), shown
    assert all(HEARD_LATE_S < one < LAST_SECOND_S for one in loss.lost_s), shown
    assert not loss.doubled and not loss.invented, shown
    assert durability == "os" or "does not balance" not in loss.account, shown
    print(shown)
