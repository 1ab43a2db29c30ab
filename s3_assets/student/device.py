"""Which device a student runs on, and in which number format.

Belongs here: the choice, from what the hardware has, and how torch's threads wait. Does not belong here: anything that
trains or predicts.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

# x86 features that make bfloat16 products faster than float32 ones; without them it is emulated and slower.
CPU_FEATURES_FOR_BF16 = ("avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Device:
    """``kind`` as torch names it (cpu, cuda, mps); ``bf16`` when products are taken in bfloat16."""

    kind: str
    bf16: bool

    def __str__(self) -> str:
        return f"{self.kind}/{'bfloat16' if self.bf16 else 'float32'}"

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
