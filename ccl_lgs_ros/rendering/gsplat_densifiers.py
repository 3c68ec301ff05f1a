# SPDX-License-Identifier: Apache-2.0
"""gsplat's strategies of densification, for maps that are optimised on an NVIDIA GPU."""

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import Parameter

from ccl_lgs_ros.protocols import Densified
from ccl_lgs_ros.structures import Gaussians

DUE = 1  # a step at which the strategies below act; each is made anew for its one round
NEVER = 2**31
NOISE_RATE = 1.6e-6  # of MCMC's noise, times the extent: the rate at which 3DGS ends
NAMES = {"means": "means", "quats": "quats", "log_scales": "scales", "logit_opacities": "opacities", "sh": "sh"}


class GsplatDefaultDensifier:
    """3DGS's own densification, as gsplat 1.5 has it, without its reset of opacities.

    Written against gsplat 1.5.3; it has never been run on a GPU. A round is one step of gsplat's strategy; where it
    would grow beyond the limit, only what is pulled hardest is shown to it.
    """

    @staticmethod
    def is_available() -> str:
        """Why gsplat cannot work here, in a sentence; empty where it can."""
        return _reason_against()

    def densify(
        self,
        gaussians: Gaussians,
        pull: Tensor,
        views: Tensor,
        *,
        extent: float,
        limit: int,
        generator: torch.Generator,
    ) -> Densified:
        """What gsplat clones, splits and drops."""
        from gsplat import DefaultStrategy

        strategy = DefaultStrategy(refine_start_iter=0, refine_every=1, refine_stop_iter=NEVER, reset_every=NEVER)
        shown = torch.zeros_like(pull)
        hardest = pull.argsort(descending=True, stable=True)[: limit - len(gaussians)]
        shown[hardest] = (pull * views)[hardest]
        state = strategy.initialize_state(scene_scale=extent) | {"grad2d": shown, "count": views.clone()}
        # This step's own gradients are in the sums already.
        centres = pull.new_zeros(1, len(pull), 2).requires_grad_()
        centres.grad = torch.zeros_like(centres)
        info = {
            "width": 1,
            "height": 1,
            "n_cameras": 1,
            "radii": torch.zeros_like(centres, dtype=torch.int32),
            "gaussian_ids": None,
            "means2d": centres,
        }
        return _changed(gaussians, generator, lambda params: strategy.step_post_backward(params, {}, state, DUE, info))


class GsplatMcmcDensifier:
    """3DGS as MCMC, as gsplat 1.5 has it; its noise is added once a round and not at every step.

    Written against gsplat 1.5.3; it has never been run on a GPU.
    """

    @staticmethod
    def is_available() -> str:
        """Why gsplat cannot work here, in a sentence; empty where it can."""
        return _reason_against()

    def densify(
        self,
        gaussians: Gaussians,
        pull: Tensor,
        views: Tensor,
        *,
        extent: float,
        limit: int,
        generator: torch.Generator,
    ) -> Densified:
        """What gsplat relocates and adds."""
        from gsplat import MCMCStrategy

        strategy = MCMCStrategy(cap_max=limit, refine_start_iter=0, refine_every=1, refine_stop_iter=NEVER)
        state, rate = strategy.initialize_state(), NOISE_RATE * extent
        return _changed(
            gaussians, generator, lambda params: strategy.step_post_backward(params, {}, state, DUE, {}, lr=rate)
        )


def _reason_against() -> str:
    if not torch.cuda.is_available():
        return "gsplat's densification needs a GPU, and torch sees none; use --set gaussians.densifier=relocation"
    if not find_spec("gsplat"):
        return "gsplat is not installed; get it with: pip install gsplat==1.5.3"
    return ""


def _changed(
    gaussians: Gaussians, generator: torch.Generator, change: Callable[[dict[str, Parameter]], None]
) -> Densified:
    """The Gaussians after gsplat changed them in place, followed by a parameter that it copies with the others."""
    params = {
        NAMES[name]: Parameter(tensor.detach().clone(), requires_grad=False)
        for name, tensor in gaussians.tensors().items()
    }
    rows = torch.arange(len(gaussians), device=gaussians.means.device)
    params["parent"] = Parameter(rows, requires_grad=False)
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(), torch.no_grad():  # gsplat draws from torch's own generators
        torch.manual_seed(seed)
        change(params)
    parent = params.pop("parent").data
    found = Gaussians(**{name: params[theirs].data for name, theirs in NAMES.items()})
    before = gaussians.select(parent)
    is_changed = (found.log_scales != before.log_scales).any(dim=1) | (found.logit_opacities != before.logit_opacities)
    return Densified(gaussians=found, parent_of_gaussian=parent, is_fresh=is_changed | _is_repeated(parent))


def _is_repeated(parent: Tensor) -> Tensor:
    """[N] bool: the same was named before."""
    order = parent.argsort(stable=True)
    is_repeated = torch.zeros_like(parent, dtype=torch.bool)
    is_repeated[order[1:]] = parent[order[1:]] == parent[order[:-1]]
    return is_repeated
