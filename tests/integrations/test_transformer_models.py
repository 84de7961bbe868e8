"""Transformers as people have them, tiny and with random weights: paths, main line, account."""

import pytest
import torch
import transformers as tr

from gradfuga import Verdict, observe
from gradfuga._diagnose import diagnose

pytestmark = pytest.mark.filterwarnings("ignore")
VOCABULARY = 32
SPECIAL = {"bos_token_id": 0, "eos_token_id": 0}


def rows(count=16, length=12):
    start, stride = torch.randint(VOCABULARY, (count, 1)), torch.randint(1, 4, (count, 1))
    return (start + stride * torch.arange(length)) % VOCABULARY


def text():
    held = rows()
    return {"input_ids": held, "labels": held}


def gpt2(attention):
    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 16}
    config = tr.GPT2Config(**sizes, **SPECIAL, vocab_size=VOCABULARY, attn_implementation=attention)
    return tr.GPT2LMHeadModel(config), text


def llama(attention):
    config = tr.LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=VOCABULARY,
        attn_implementation=attention,
    )
    return tr.LlamaForCausalLM(config), text


def t5(attention):
    config = tr.T5Config(
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        vocab_size=VOCABULARY,
        decoder_start_token_id=0,
        attn_implementation=attention,
    )

    def batch():
        held = rows()
        return {"input_ids": held, "labels": held.flip(1)}

    return tr.T5ForConditionalGeneration(config), batch


def vit(attention):
    config = tr.ViTConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        num_channels=1,
        num_labels=4,
        attn_implementation=attention,
    )

    def batch():
        labels = torch.randint(4, (32,))
        images = 0.3 * torch.randn(32, 1, 2, 8, 2, 8)
        images[torch.arange(32), 0, labels // 2, :, labels % 2] += 1.0
        return {"pixel_values": images.reshape(32, 1, 16, 16), "labels": labels}

    return tr.ViTForImageClassification(config), batch


def wav2vec2(attention):
    config = tr.Wav2Vec2Config(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        conv_dim=(16, 16),
        conv_stride=(4, 4),
        conv_kernel=(8, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        vocab_size=8,
        num_labels=4,
        classifier_proj_size=16,
        mask_time_prob=0.0,
        attn_implementation=attention,
    )

    def batch():
        labels = torch.randint(4, (16,))
        phase = 8 * (labels[:, None] + 1) * torch.arange(400) / 400 + torch.rand(16, 1)
        waves = torch.sin(2 * torch.pi * phase) + 0.1 * torch.randn(16, 400)
        return {"input_values": waves, "labels": labels}

    return tr.Wav2Vec2ForSequenceClassification(config), batch


def whisper(attention):
    config = tr.WhisperConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=VOCABULARY,
        num_mel_bins=8,
        max_source_positions=12,
        max_target_positions=16,
        decoder_start_token_id=0,
        pad_token_id=0,
        attn_implementation=attention,
        **SPECIAL,
    )

    def batch():
        held = rows() % 8
        spoken = torch.nn.functional.one_hot(held, 8).float().repeat_interleave(2, 1)
        return {"input_features": spoken.transpose(1, 2), "labels": held + 1}

    return tr.WhisperForConditionalGeneration(config), batch


MODELS = [gpt2, llama, t5, vit, wav2vec2, whisper]


def train(make, attention, *, steps, every):
    torch.manual_seed(0)
    model, batch = make(attention)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with observe(model, optimizer, every=every) as observer:
        for _ in range(steps):
            optimizer.zero_grad()
            model(**batch()).loss.backward()
            optimizer.step()
    return model, observer.readings


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_every_parameter_and_layer_has_a_path_and_the_main_line_is_found(make, attention):
    model, readings = train(make, attention, steps=2, every=1)
    graph, names = readings.graph, {name for name, _ in model.named_parameters()}
    assert {each.path for each in readings.record.parameters} == names
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {each.path for each in readings.record.parameters if each.reached} <= trained
    modules = {name for name, _ in model.named_modules()}
    layers = [graph.ops[place].path for place in graph.layers]
    assert len(layers) > 8
    assert {path for path in layers if path not in names} <= modules
    assert len(graph.main_line) > 5
    assert not [op.node for op in graph.ops if op.role.value == "opaque"]
    diagnosis = diagnose(readings)
    shares = sum(cause.share for cause in diagnosis.causes)
    assert shares + diagnosis.unexplained == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_one_that_learns_is_healthy(make):
    _, readings = train(make, "sdpa", steps=120, every=8)
    assert diagnose(readings).verdict is Verdict.HEALTHY
