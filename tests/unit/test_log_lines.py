"""Log lines that cannot be written: on a full disk the supervisor once died of saying that a role had died."""

import io

from haechi.app.events import Tolerant


class Disk(io.StringIO):
    full = False

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_line_that_cannot_be_written_ends_nobody_and_the_next_one_says_that_it_is_missing() -> None:
    disk = Disk()
    lines = Tolerant(disk)
    print("one", file=lines, flush=True)
    disk.full = True
    print("two", file=lines, flush=True)
    disk.full = False
    print("three", file=lines, flush=True)
    print("four", file=lines, flush=True)
    said = disk.getvalue().splitlines()
    assert said[0] == "one" and said[2:] == ["three", "four"]
    assert "may be missing" in said[1]
