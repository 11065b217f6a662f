"""Torch without its compiler, which nothing here uses and which takes over a second to load.

Torch loads it with the first optimiser, and with a module on the device "meta".
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Adam(torch.optim.Adam):
    """`torch.optim.Adam` to the last bit, without the wrappers that load the compiler."""

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step along the gradients."""
        return inspect.unwrap(torch.optim.Adam.step)(self, closure)


class Uninitialised(TorchFunctionMode):
    """Modules made inside have memory for their parameters and no values yet.

    Torch's own initialisers would draw from the global generator.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
