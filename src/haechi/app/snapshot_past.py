"""The past of one snapshot: a file of instances, answered as history answers. For `snapshots`."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from haechi.core.errors import Unavailable
from haechi.core.instances import NOTHING_SAID
from haechi.core.observation import STORED
from haechi.plugins.stores.iceberg.answer import Answers
from haechi.plugins.stores.iceberg.engine import Engine
from haechi.plugins.stores.iceberg.plan import FileSet
from haechi.plugins.stores.iceberg.windows import State
from haechi.ports import EvolutionQuery, Periods

_NOTHING_STORED = STORED.empty_table()


class PastFile:
    """An `EvolutionReader`; its rows are mapped from the file when somebody asks. `engine` is that of all snapshots."""

    def __init__(self, path: Path, engine: Callable[[], Engine]) -> None:
        self._path, self._engine = path, engine
        self._rows: pa.Table | None = None

    def keep(self, rows: pa.Table) -> None:
        """Rows of `core.instances.INSTANCES` instead of those there were; durable when it returns. `Unavailable` when
        the disk takes none."""
        part = self._path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                with pa.ipc.new_file(file, rows.schema) as writer:
                    writer.write_table(rows)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Unavailable(
                f"{part} cannot be written: {error.strerror}; make room, then make the snapshot again"
            ) from error
        self._rows = None

    def whole(self) -> pa.Table:
        """All rows."""
        if self._rows is None:
            kept = self._path.exists()
            self._rows = pa.ipc.open_file(pa.memory_map(str(self._path))).read_all() if kept else NOTHING_SAID
        return self._rows

    def evolution(self, query: EvolutionQuery) -> pa.Table:
        """See `EvolutionReader.evolution`."""
        return self._answers().evolution(query, _NOTHING_STORED, self._of(query.entities))

    def sums(self, query: EvolutionQuery, periods: Periods) -> pa.Table:
        """See `EvolutionReader.sums`."""
        return self._answers().sums(query, periods, _NOTHING_STORED, self._of(query.entities))

    def entities_with(self, query: EvolutionQuery) -> frozenset[str]:
        """See `EvolutionReader.entities_with`."""
        return self._answers().entities_with(query, _NOTHING_STORED, self._of(query.entities))

    def said(self, entities: Sequence[str]) -> pa.Table:
        """See `EvolutionReader.said`."""
        return self._answers().said(entities, self._of(entities))

    def _answers(self) -> Answers:
        return Answers(State(0, FileSet(), FileSet(), 0), {}, self._engine())

    def _of(self, entities: Sequence[str]) -> pa.Table:
        rows = self.whole()
        return rows.filter(pc.is_in(rows.column("entity"), value_set=pa.array(list(entities), pa.string())))
