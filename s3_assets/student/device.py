"""Which device a student runs on, in which number format, and how much it is given at once.

Belongs here: the choice, from what the hardware has, and how torch's threads wait. Does not belong here: anything that
trains or predicts.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

# x86 features that make bfloat16 products faster than float32 ones; without them it is emulated and slower.
CPU_FEATURES_FOR_BF16 = ("avx512_bf16", "amx_bf16")

# Most tokens, padding counted, that a model is given at once. A processor is fastest where what lies between two layers
# stays in its cache: 16 texts of 240 tokens took 9.4 s to train on at once and 7.1 s by fours, 140 ms a text to predict
# 32 at once and 89 by fours. A GPU wants more; there it is a bound for its memory.
CPU_TOKENS, GPU_TOKENS = 1024, 32_768

# 32 rows of 128 tokens, 16 of 256. Twice as many took 4.6 GB of memory to train MiniLM on.
TOKENS_COMPARED = 4096

# Most rows predicted at once, where texts are short.
CPU_ROWS, GPU_ROWS = 64, 512


@dataclass(frozen=True)
class Device:
    """``kind`` as torch names it (cpu, cuda, mps); ``bf16`` when products are taken in bfloat16."""

    kind: str
    bf16: bool

    def __str__(self) -> str:
        return f"{self.kind}/{'bfloat16' if self.bf16 else 'float32'}"

    @property
    def tokens(self) -> int:
        """Most tokens that a model is given at once."""
        return CPU_TOKENS if self.kind == "cpu" else GPU_TOKENS

    @property
    def tokens_compared(self) -> int:
        """Most tokens that a model is given at once where its rows are compared: slower, but a batch stays whole."""
        return max(self.tokens, TOKENS_COMPARED)

    @property
    def rows(self) -> int:
        """Most rows predicted at once."""
        return CPU_ROWS if self.kind == "cpu" else GPU_ROWS

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which forward passes run."""
        import torch

        return torch.autocast(self.kind, dtype=torch.bfloat16) if self.bf16 else nullcontext()


def share_the_processor() -> None:
    """Let torch's threads sleep instead of spin while they wait for one another. Call before torch is first imported.

    Spinning threads of two programs on the same cores block each other: with two others training beside it, a training
    took 3.3 times as long as with sleeping threads.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pick_device() -> Device:
    """CUDA when there, else MPS, else the CPU; bfloat16 where the hardware computes in it."""
    import torch

    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.backends.mps.is_available():
        return Device("mps", bf16=False)
    return Device("cpu", _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    import torch

    features = torch.cpu.get_capabilities()
    return any(features.get(name, False) for name in CPU_FEATURES_FOR_BF16)
