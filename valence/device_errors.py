"""What an error of a device means for the cells that train on it."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """True where a device or the CPU had too little memory: fewer cells at once may fit."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def is_fatal(error: BaseException) -> bool:
    """True where the process can use its device no more: every later cell would fail in it, whatever its own worth."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)
