"""Read what a piece of source means: which layer, which activation, which optimizer it names."""

from __future__ import annotations

import libcst as cst

CLASS_OF = {
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "selu": "SELU",
    "mish": "Mish",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "hardtanh": "Hardtanh",
    "hardsigmoid": "Hardsigmoid",
}
ACTIVATION_OF = {kind: name for name, kind in CLASS_OF.items()}
IN_TORCH = frozenset({"relu", "tanh", "sigmoid", "selu"})  # functions of torch itself
LAYER_WIDTH = {"Linear": "out_features", "Conv1d": "out_channels", "Conv2d": "out_channels"}
OPTIMIZERS = frozenset(
    {"SGD", "Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta"}
)


def last_name(node: cst.BaseExpression) -> str:
    """Return the last part of a dotted name, "" for any other expression."""
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def stem(node: cst.BaseExpression) -> str:
    """Return a dotted name without its last part: ``torch.nn`` of ``torch.nn.Linear``."""
    return code(node.value) if isinstance(node, cst.Attribute) else ""


def code(node: cst.CSTNode) -> str:
    """Return the source of `node`."""
    return cst.Module([]).code_for_node(node)


def called(node: cst.BaseExpression) -> str:
    """Return the last part of the name that a call calls, "" where `node` is no call."""
    return last_name(node.func) if isinstance(node, cst.Call) else ""


def argument(call: cst.Call, name: str, place: int) -> cst.BaseExpression | None:
    """Return an argument by its keyword or its place, None where it is not given."""
    for at, each in enumerate(call.args):
        if each.star:
            return None
        if (each.keyword is not None and each.keyword.value == name) or (
            each.keyword is None and at == place
        ):
            return each.value
    return None


def is_activation(node: cst.BaseExpression) -> bool:
    """Whether `node` builds an activation module."""
    return called(node) in ACTIVATION_OF


def statements(text: str) -> list[cst.SimpleStatementLine | cst.BaseCompoundStatement]:
    """Parse several statements."""
    return list(cst.parse_module(text).body)
