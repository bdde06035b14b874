"""A tiny text model inside TRL's trainers, and the scores of its batches by definition."""

from __future__ import annotations

import torch

from medpref.objectives import BranchScores


def tiny_tokenizer(texts):
    """Whole words, one token each."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<pad>", "<eos>", *sorted({word for text in texts for word in text.split()})]
    vocabulary = {word: index for index, word in enumerate(words)}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", pad_token="<pad>", eos_token="<eos>")


def tiny_model(tokenizer, seed: int):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.15, **size)
    return LlamaForCausalLM(config).eval()


def trainer_of(cls, config, *, tokenizer, rows, out, beta, **options):
    """A TRL trainer of a tiny policy and reference, and the one batch of its rows."""
    from datasets import Dataset

    args = config(
        output_dir=str(out),
        use_cpu=True,
        bf16=False,
        report_to=[],
        beta=beta,
        gradient_checkpointing=False,
        per_device_train_batch_size=len(rows),
        disable_tqdm=True,
        **options,
    )
    trainer = cls(
        model=tiny_model(tokenizer, 0),
        ref_model=tiny_model(tokenizer, 1),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    trainer.model.eval()
    return trainer, trainer.data_collator(list(trainer.train_dataset))


def read(policy, reference, ids, attention, replied) -> BranchScores:
    """A branch's scores from logits, by definition and without TRL."""
    mask = replied[:, 1:].bool()

    def token_log_probs(model):
        log_probs = model(input_ids=ids, attention_mask=attention).logits[:, :-1].log_softmax(-1)
        return log_probs.gather(2, ids[:, 1:, None])[..., 0].where(mask, 0), log_probs

    ours, everything = token_log_probs(policy)
    with torch.no_grad():
        theirs, _ = token_log_probs(reference)
    collision = (2 * everything.detach()).logsumexp(-1).where(mask, 0)
    present = torch.ones(len(ids), dtype=torch.bool)
    return BranchScores(ours, theirs, mask, torch.zeros_like(mask), present, collision=collision)
