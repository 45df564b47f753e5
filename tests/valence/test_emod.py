"""EMOD: its published sizes, its attention against torch's own and against loops, and what "as coded" changes."""

import pytest
import torch
from torch import nn

from tests.valence.signal_specs import FACED, FACED_NAMES, SMALL, noise
from valence import emod
from valence.classifiers import CLASSIFIERS, build_classifier
from valence.classifiers.emod import N_ROWS, VOCABULARY, channel_rows
from valence.signal import SignalSpec

pytestmark = pytest.mark.usefixtures("one_thread")


def size(*parts: nn.Module) -> int:
    return sum(parameter.numel() for part in parts for parameter in part.parameters())


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("EMOD", 845_384), ("EMOD_as_coded", 845_384), ("EMOD_depth6", 1_641_488), ("EMOD_depth6_as_coded", 1_641_488)],
)
def test_sizes_are_the_published_ones(name, backbone):
    module = CLASSIFIERS[name].build(FACED)
    assert size(module.tokens, module.channels, module.blocks) == backbone
    assert size(module.head, module.final_layer) == 3_344_266


def test_attention_is_torchs_where_distance_does_not_count():
    torch.manual_seed(0)
    ours = emod.Attention(relative=False)
    theirs = nn.MultiheadAttention(emod.WIDTH, emod.HEADS, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias)
    theirs.out_proj.load_state_dict(ours.project.state_dict())
    x = torch.randn(3, 7, emod.WIDTH)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [5, 53])
def test_distance_adds_its_encodings_product_with_the_query(length):
    torch.manual_seed(0)
    attention = emod.Attention(relative=True).double()
    x = torch.randn(1, length, emod.WIDTH, dtype=torch.float64)
    query, key, value = attention.qkv(x)[0].split(emod.WIDTH, 1)
    out = torch.zeros(length, emod.WIDTH, dtype=torch.float64)
    for head in range(16):
        part = slice(8 * head, 8 * head + 8)
        for i in range(length):
            logits = torch.empty(length, dtype=torch.float64)
            for j in range(length):
                distance = max(-49, min(49, i - j))  # 50 tokens have encodings of their own
                logits[j] = query[i, part] @ key[j, part] / 8**0.5 + query[i, part] @ attention.relative[distance + 49]
            out[i, part] = logits.softmax(0) @ value[:, part]
    torch.testing.assert_close(attention(x)[0], attention.project(out))


def time_step(as_coded: bool) -> tuple[emod.Block, torch.Tensor]:
    """A block of which time attention alone acts, without encodings of distance, and tokens."""
    torch.manual_seed(0)
    block = emod.Block(as_coded=as_coded).eval()
    with torch.no_grad():
        block.along_time.relative.zero_()
        for part in (block.along_channels.project, block.feed_forward[3]):
            part.weight.zero_()
            part.bias.zero_()
    return block, torch.randn(2, 3, 6, emod.WIDTH)


def test_time_attention_is_along_time_as_described_and_not_as_coded():
    shuffled = torch.tensor([3, 1, 0, 5, 4, 2])
    block, x = time_step(as_coded=False)
    torch.testing.assert_close(block(x[:, :, shuffled]), block(x)[:, :, shuffled])
    block, x = time_step(as_coded=True)
    assert (block(x[:, :, shuffled]) - block(x)[:, :, shuffled]).abs().max() > 0.01


def test_as_coded_reads_the_transposed_tokens_in_rows():
    block, x = time_step(as_coded=True)
    expected = torch.empty_like(x)
    for sample in range(2):
        for channel in range(3):
            normal = block.norms[1](x[sample, channel])  # (time, features)
            numbers = [normal[time, feature] for feature in range(emod.WIDTH) for time in range(6)]
            rows = torch.stack(numbers).reshape(1, 6, emod.WIDTH)
            expected[sample, channel] = x[sample, channel] + block.along_time(rows)[0]
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_the_two_forms_share_weights_and_differ_in_what_they_predict():
    torch.manual_seed(0)
    one = build_classifier(CLASSIFIERS["EMOD"], SMALL).eval()
    other = build_classifier(CLASSIFIERS["EMOD_as_coded"], SMALL).eval()
    other.load_state_dict(one.state_dict(), strict=True)
    x = noise(SMALL, 2)
    assert (one(x) - other(x)).abs().max() > 1e-4


def test_channel_attention_is_a_mean_where_scores_are_equal():
    attention = emod.ChannelAttention().eval()
    nn.init.zeros_(attention.score.weight)
    x = torch.randn(2, 5, 3, emod.WIDTH)
    torch.testing.assert_close(attention(x), x.mean(1))
    nn.init.constant_(attention.score.weight, 10.0)
    x[:, 2] += 10
    torch.testing.assert_close(attention(x), x[:, 2])


@pytest.mark.parametrize(
    ("n_times", "sfreq", "n_tokens"), [(2000, 200, 50), (2500, 250, 50), (4000, 200, 100), (20, 200, 1)]
)
def test_five_tokens_a_second(n_times, sfreq, n_tokens):
    spec = SignalSpec(n_chans=3, n_times=n_times, n_outputs=4, sfreq=sfreq, ch_names=("Fz", "Cz", "Pz"))
    module = build_classifier(CLASSIFIERS["EMOD"], spec)
    assert module.tokens(noise(spec, 2)).shape == (2, 3, n_tokens, emod.WIDTH)


def test_tokens_see_time_and_frequency():
    torch.manual_seed(0)
    tokens = emod.Tokens(5)
    x = noise(SMALL, 1)
    spectrum = torch.fft.fft(x).real[..., :101] / 200
    for branch, part in ((tokens.time, x), (tokens.frequency, spectrum)):
        heard = []
        hook = branch.register_forward_pre_hook(lambda _, inputs, heard=heard: heard.append(inputs[0]))
        tokens(x)
        hook.remove()
        torch.testing.assert_close(heard[0][:, 0], part, rtol=1e-4, atol=1e-5)


def test_rows_of_the_channel_embedding_are_the_published_ones():
    assert len(VOCABULARY) == 68
    assert sorted(VOCABULARY) == VOCABULARY
    assert {name.upper() for name in FACED_NAMES} <= set(VOCABULARY)
    rows = channel_rows(("A1", "fp1", "TP8", "EKG", "Fz"))
    assert rows[:3] == [1, 1 + VOCABULARY.index("FP1"), 68]
    assert rows[3] == 0
    assert len(set(rows)) == 5


def test_every_channel_has_a_row_of_its_own_whatever_its_name():
    names = (*FACED_NAMES, *(f"E{number}" for number in range(60)))
    rows = channel_rows(names)
    assert len(set(rows)) == len(names)
    assert max(rows) >= N_ROWS
    spec = SignalSpec(n_chans=92, n_times=100, n_outputs=2, sfreq=200, ch_names=names)
    assert build_classifier(CLASSIFIERS["EMOD"], spec).channels.num_embeddings == max(rows) + 1


def test_tokens_of_some_samples_at_a_time_are_the_same_and_hold_less(monkeypatch):
    tokens, x = emod.Tokens(10).double(), torch.randn(5, 3, 400, dtype=torch.float64)
    held = []

    def pack(value: torch.Tensor) -> torch.Tensor:
        held.append(value.numel())
        return value

    found = []
    for largest in (10**9, 2 * 3 * 400 * emod.WIDTH):
        monkeypatch.setattr(emod, "LARGEST", largest)
        tokens.zero_grad()
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            given = tokens(x)
        (given**2).sum().backward()
        found.append((given.detach(), [p.grad.clone() for p in tokens.parameters()], sum(held)))
    (whole, gradients, much), (parts, others, little) = found
    torch.testing.assert_close(parts, whole)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, one)
    assert little < much / 10
