"""Recordings to classifiers: what a classifier is told about its input, validated once."""

from dataclasses import dataclass

from valence.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class SignalSpec:
    """The build context of a classifier. A wrong channel order corrupts silently, so the names travel along.

    Windows have shape (batch, n_chans, n_times), µV times the recipe's scale, with n_bands 0.
    DE features have shape (batch, n_chans, n_times, n_bands), nats (½·ln(2πe·µV²)), with sfreq values a second: 1 where
    a value stands for a second.

    Raises
    ------
    BadInput : where the facts contradict each other.
    """

    n_chans: int
    n_times: int
    """samples of a window, or steps of DE features"""
    n_outputs: int
    """classes"""
    sfreq: float
    """samples per second, Hz"""
    ch_names: tuple[str, ...]
    n_bands: int = 0
    """frequency bands of DE features; 0 for windows"""

    def __post_init__(self) -> None:
        def refuse(got: str, allowed: str) -> BadInput:
            return BadInput(got, allowed=allowed, do="correct the data set's facts or the recipe")

        for name in ("n_chans", "n_times", "n_outputs"):
            if getattr(self, name) < 1:
                raise refuse(f"{name} is {getattr(self, name)}", "1 or more")
        if self.n_bands < 0 or not self.sfreq > 0:
            raise refuse(f"n_bands is {self.n_bands} and sfreq {self.sfreq} Hz", "n_bands of 0 or more, sfreq above 0")
        if len(self.ch_names) != self.n_chans:
            raise refuse(f"ch_names has {len(self.ch_names)} names but n_chans is {self.n_chans}", "one name a channel")
        if len(set(self.ch_names)) != self.n_chans:
            raise refuse(f"ch_names repeats a name: {', '.join(self.ch_names)}", "each channel once")

    @property
    def input(self) -> str:
        """ "windows" or "de"."""
        return "de" if self.n_bands else "windows"
