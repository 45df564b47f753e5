"""What a long run tells while it goes on."""


class Listener:
    """What a run tells while it goes on; silent here, the terminal shows it."""

    def stage(self, text: str) -> None:
        """A stage began, or was found done."""

    def subject(self, done: int, total: int) -> None:
        """A subject's recordings were converted."""

    def cells_begin(self, *, n_cells: int, n_committed: int, predicted_s: float) -> None:
        """Training begins."""

    def cell(self, ended: object) -> None:
        """A cell was committed (cluster.sweep.CellEnded)."""

    def cells_end(self) -> None:
        """Training ended."""
