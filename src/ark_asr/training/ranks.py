"""One process, or several that share each update (started by ``torchrun``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist
from torch._C._distributed_c10d import HashStore


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place among ``size`` processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: str, *, always: bool = False) -> Ranks:
        """Meet the other processes, if ``torchrun`` started any.

        Args:
            device: ``cuda``: each process of a machine takes a GPU of its own.
            always: Make a group of one if this process is alone.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if device == "cuda":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        backend = "nccl" if device == "cuda" else "gloo"
        if size == 1:
            if always:
                dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
            return cls()
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
        return cls(dist.get_rank(), size)

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def sum_(self, tensors: Iterable[Tensor]) -> None:
        """Add up tensors over all processes, in place, in one exchange."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        begin = 0
        for tensor in tensors:
            tensor.copy_(flat[begin : begin + tensor.numel()].view_as(tensor))
            begin += tensor.numel()

    def share(self, values: Sequence[float]) -> list[float]:
        """The first process's numbers, in all processes."""
        if self.size == 1:
            return list(values)
        shared = [list(values)]
        dist.broadcast_object_list(shared)
        return shared[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def leave(self) -> None:
        """Part from the other processes."""
        if dist.is_initialized():
            dist.destroy_process_group()
