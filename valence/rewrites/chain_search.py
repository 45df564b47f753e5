"""A trace to the chains in it: temporal filters, batch normalisation and a spatial filter with nothing between."""

from dataclasses import dataclass

import torch

from valence.rewrites.chains import Chain, Normalise, Spatial, Temporal
from valence.rewrites.intercept import free, intercept
from valence.rewrites.trace import CONVOLUTIONS, NORM, Call, Trace, memory_format

HARMLESS = {"permute", "transpose", "contiguous", "movedim", "swapaxes"}
PASS = 30
"""a pass over a map in memory costs as much as this many multiplications of each of its samples"""


@dataclass
class _Branch:
    temporal: Call
    norm: Call | None


def rewrite_chains(trace: Trace) -> list[str]:
    """Rewrite every chain of a traced module that is cheaper the other way round.

    Returns
    -------
    list of str : one per chain.
    """
    return [words for call in trace.calls if (words := _rewrite_one(trace, call))]


def _rewrite_one(trace: Trace, spatial: Call) -> str | None:
    if not is_plain(spatial) or not trace.replaceable(spatial) or not free(spatial.owner):
        return None
    x, weight = spatial.args[0], spatial.argument(1, "weight")
    groups = spatial.argument(6, "groups", 1)
    if x.ndim != 4 or groups not in (1, x.shape[1]):
        return None
    for time in (2, 3):
        space = 5 - time
        if weight.shape[time] == 1 and x.shape[space] == weight.shape[space] > 1 and _unpadded(spatial):
            branches = _behind(trace, spatial, time)
            norms = [] if branches is None else [b.norm for b in branches]
            if branches and (spare := _saving(branches, spatial, groups)) > 1.0:
                return _install(trace, branches, spatial, time, len(set(map(id, norms))), spare)
    return None


def _install(trace: Trace, branches: list[_Branch], spatial: Call, time: int, n_norms: int, spare: float) -> str:
    chain = Chain(len(branches), time, memory_format(spatial.output))
    for number, branch in enumerate(branches):
        temporal = branch.temporal
        intercept(temporal.owner, temporal.function, temporal.position, Temporal(chain, number))
        if branch.norm is not None and (number == 0 or branch.norm is not branches[0].norm):
            intercept(branch.norm.owner, branch.norm.function, branch.norm.position, Normalise(chain, number))
    intercept(spatial.owner, spatial.function, spatial.position, Spatial(chain))
    filters = f"{len(branches)} temporal filters" if len(branches) > 1 else "temporal filter"
    norm = ", batch normalisation" if branches[0].norm is not None else ""
    return f"spatial filter before {filters}{norm}"


def _behind(trace: Trace, spatial: Call, time: int) -> list[_Branch] | None:
    """Temporal convolutions whose outputs, normalised or not, are all that a spatial filter reads; None where not."""
    made_by = _producer(trace, spatial.args[0], spatial)
    norm = None
    if made_by is not None and made_by.function is NORM and _replaceable_norm(trace, made_by):
        norm, made_by = made_by, _producer(trace, made_by.args[0], made_by)
    if made_by is None:
        return None
    if made_by.function in (torch.cat, torch.concat, torch.concatenate):
        if made_by.argument(1, "dim", 0) not in (1, -3):
            return None
        branches = [_branch(trace, piece, made_by, norm, time) for piece in made_by.argument(0, "tensors")]
    else:
        branches = [_as_branch(trace, made_by, norm, time)]
    found = [branch for branch in branches if branch is not None]
    same = len({branch.norm is None for branch in found}) == 1
    owners = [id(branch.temporal.owner) for branch in found]
    return found if found and same and len(found) == len(branches) == len(set(owners)) else None


def _branch(trace: Trace, piece: torch.Tensor, reader: Call, shared: Call | None, time: int) -> _Branch | None:
    made_by, norm = _producer(trace, piece, reader), shared
    if shared is None and made_by is not None and made_by.function is NORM and _replaceable_norm(trace, made_by):
        norm, made_by = made_by, _producer(trace, made_by.args[0], made_by)
    return None if made_by is None else _as_branch(trace, made_by, norm, time)


def _as_branch(trace: Trace, call: Call, norm: Call | None, time: int) -> _Branch | None:
    if not is_plain(call) or not trace.replaceable(call) or not free(call.owner) or call.function is not torch.conv2d:
        return None
    x, weight = call.args[0], call.argument(1, "weight")
    padding = call.argument(4, "padding", 0)
    fits = x.ndim == 4 and weight.shape[5 - time] == 1 < weight.shape[time] and call.argument(6, "groups", 1) == 1
    across = (
        0
        if isinstance(padding, str)
        else padding
        if isinstance(padding, int)
        else padding[(5 - time - 2) % len(padding)]
    )
    return _Branch(call, norm) if fits and across == 0 else None


def _producer(trace: Trace, tensor: torch.Tensor, reader: Call) -> Call | None:
    """The call behind a tensor that only `reader` reads, seen through changes of layout that leave it as it is."""
    if trace.only_reader(tensor) is not reader:
        return None
    made_by = trace.producer.get(id(tensor))
    seen = tensor
    while made_by is not None and getattr(made_by.function, "__name__", "") in HARMLESS:
        source = made_by.args[0]
        if trace.only_reader(source) is not made_by:
            return None
        seen, made_by = source, trace.producer.get(id(source))
    return made_by if seen.shape == tensor.shape and torch.equal(seen, tensor) else None


def _replaceable_norm(trace: Trace, call: Call) -> bool:
    return trace.replaceable(call) and free(call.owner) and call.args[0].ndim == 4


def is_plain(call: Call) -> bool:
    """Whether a call is a convolution without stride and dilation."""
    if call.function not in CONVOLUTIONS:
        return False
    stride, dilation = (call.argument(place, name, 1) for place, name in ((3, "stride"), (5, "dilation")))
    return all(set(v if isinstance(v, (tuple, list)) else (v,)) == {1} for v in (stride, dilation))


def _unpadded(call: Call) -> bool:
    padding = call.argument(4, "padding", 0)
    return padding == "valid" or set(padding if isinstance(padding, (tuple, list)) else (padding,)) == {0}


def _saving(branches: list[_Branch], spatial: Call, groups: int) -> float:
    """How many times fewer multiplications per sample of time the other order takes."""
    weight = spatial.argument(1, "weight")
    n_out, n_chans = len(weight), spatial.args[0].shape[2] * spatial.args[0].shape[3] // _times(spatial)
    before = weight.numel()
    after = 0.0
    for branch in branches:
        taps = branch.temporal.argument(1, "weight")
        n_filters, n_inputs, length = len(taps), taps.shape[1], max(taps.shape[2:])
        passes = 1 if branch.norm is None else 3
        before += n_filters * n_chans * (n_inputs * length + passes * PASS)
        own = n_out if groups == 1 else n_out * n_filters // groups
        if groups == 1:
            after += own * n_chans * n_inputs * length
        else:
            after += own * n_inputs * (n_chans + 2 * length + 3 * PASS)
        if branch.norm is not None:
            # moments of an input that is trained have a gradient, which takes two products more
            after += 2 * n_inputs**2 * n_chans * length * (3 if branch.temporal.args[0].requires_grad else 1)
    return before / after


def _times(spatial: Call) -> int:
    weight = spatial.argument(1, "weight")
    return spatial.args[0].shape[2] if weight.shape[2] == 1 else spatial.args[0].shape[3]
