import os

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

torch.manual_seed(0)
model = GPT2LMHeadModel(
    GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=32, n_positions=16,
               bos_token_id=0, eos_token_id=0)
)  # fmt: skip
start, stride = torch.randint(32, (512, 1)), torch.randint(1, 4, (512, 1))
data = [{"input_ids": row, "labels": row} for row in (start + stride * torch.arange(12)) % 32]
arguments = TrainingArguments(
    "out",
    per_device_train_batch_size=32,
    max_steps=120,
    learning_rate=3e-3,
    report_to=[],
    save_strategy="no",
    use_cpu=True,
    disable_tqdm=True,
    logging_strategy="no",
)
Trainer(model=model, args=arguments, train_dataset=data).train()
print(f"{sum(p.double().abs().sum().item() for p in model.parameters()):.17g}")
