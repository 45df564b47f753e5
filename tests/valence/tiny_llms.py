"""LLMs of a few thousand random weights, in folders as save_pretrained writes them, with a tokenizer trained here."""

from pathlib import Path

import torch

from valence.stories import load_stories

N_BLOCKS, D_MODEL = 4, 128
_COMMON = {"vocab_size": 400, "hidden_size": D_MODEL, "initializer_range": 0.15, "bos_token_id": 1, "eos_token_id": 2}
_HEADS = {"num_attention_heads": 4, "max_position_embeddings": 2048}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 192}

ARCHITECTURES = {
    "llama": ("LlamaConfig", _COMMON | _HEADS | _GROUPED),
    "qwen3": ("Qwen3Config", _COMMON | _HEADS | _GROUPED),
    "gemma3": ("Gemma3TextConfig", _COMMON | _HEADS | _GROUPED | {"sliding_window": 16, "query_pre_attn_scalar": 32}),
    "bloom": ("BloomConfig", _COMMON | {"n_head": 4, "n_layer": N_BLOCKS}),
    "pythia": ("GPTNeoXConfig", _COMMON | _HEADS | {"intermediate_size": 192}),
    "phi": ("PhiConfig", _COMMON | _HEADS | {"intermediate_size": 192}),
}


def tiny_llm(folder: Path, architecture: str = "llama", *, n_blocks: int = N_BLOCKS, seed: int = 0) -> Path:
    """Write an LLM of an architecture into a folder, and return it."""
    import transformers

    name, arguments = ARCHITECTURES[architecture]
    blocks = {"n_layer": n_blocks} if architecture == "bloom" else {"num_hidden_layers": n_blocks}
    configuration = getattr(transformers, name)(**(arguments | blocks))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = transformers.AutoModelForCausalLM.from_config(configuration, dtype=torch.float32)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim == 1:  # norms that scale and shift, so that none can be left out unseen
                    parameter.add_(0.3 * torch.randn_like(parameter))
    network.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def tiny_tokenizer():
    """Byte-level BPE of 400 tokens, which puts <s> before each text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([story.text for story in load_stories()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
