"""One stream of random numbers for each cell, on PyTorch's default generators.

Dropout draws from the default generator of its device and takes no other. Cells that train in turns in one process
therefore lend each other the generator: each finds it as it left it.
"""

from types import TracebackType

import torch


class OwnRandom:
    """Inside the context PyTorch's default generators of the CPU and of one device are this cell's own.

    A captured CUDA graph keeps the generator's state by reference, so the state itself is exchanged there, not its
    content.
    """

    def __init__(self, device: torch.device):
        self._cpu = torch.get_rng_state()
        self._generator: torch.Generator | None = None
        if device.type == "cuda":
            index = torch.cuda.current_device() if device.index is None else device.index
            torch.cuda.init()
            self._generator = torch.cuda.default_generators[index]
            self._own = self._generator.clone_state()

    def state(self) -> dict[str, torch.Tensor]:
        """The numbers still to come, as uint8 tensors. Not inside the context."""
        device = {} if self._generator is None else {"device": self._own.get_state()}
        return {"cpu": self._cpu.clone(), **device}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a state; one of another kind of device brings the numbers of the CPU alone."""
        self._cpu = state["cpu"]
        if self._generator is not None and "device" in state:
            self._own = self._generator.clone_state()
            self._own.set_state(state["device"])

    def __enter__(self) -> "OwnRandom":
        self._outer_cpu = torch.get_rng_state()
        torch.set_rng_state(self._cpu)
        if self._generator is not None:
            self._outer = self._generator.graphsafe_get_state()
            self._generator.graphsafe_set_state(self._own)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cpu = torch.get_rng_state()
        torch.set_rng_state(self._outer_cpu)
        if self._generator is not None:
            self._own = self._generator.graphsafe_get_state()
            self._generator.graphsafe_set_state(self._outer)
