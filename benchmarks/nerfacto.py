"""A scene from photos against nerfstudio's nerfacto on the same processor: time of a step, and PSNR at equal time.

    python benchmarks/nerfacto.py SCENE --downscale 2 --time 5m

Needs `nerfstudio` beside Onefield in one environment; without it only our rows are printed. Both learn from the same
rays of the same frames, nerfacto with its defaults and its own PyTorch path (its other needs CUDA), and both are scored
on the same held-out rays. We train twice: as we would, and with as many rays a step as nerfacto. The clock runs during
steps only. Prints one line of JSON each.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time

import torch

from onefield.configs.runs import configure
from onefield.data.batches import RayBatch, RayBatches
from onefield.data.scene import Scene
from onefield.tools.output import seconds_of
from onefield.training.loop import take_step
from onefield.training.metrics import psnr
from onefield.training.state import TrainingState

RAYS = 4096
# Our steps follow a number of samples; with room for all of them every step has the peer's number of rays.
AS_MANY_RAYS = [f"training.first_rays={RAYS}", f"training.most_rays={RAYS}", "training.samples_per_step=1000000000"]
HELD_OUT_SEED = 20_000
# Its own schedule (nerfstudio 1.1.5, method "nerfacto"): Adam at 1e-2, decaying to 1e-4 over 200,000 steps.
PEER_RATE, PEER_EPSILON = 1e-2, 1e-15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene")
    parser.add_argument("--downscale", type=int, default=2)
    parser.add_argument("--time", default="5m", help="training time of each")
    arguments = parser.parse_args()
    seconds = seconds_of(arguments.time)
    config = configure(arguments.scene, seconds=seconds, downscale=arguments.downscale)
    as_many_rays = configure(arguments.scene, seconds=seconds, downscale=arguments.downscale, changes=AS_MANY_RAYS)
    scene = config.load_scene()
    print(json.dumps(ours(config, scene, seconds)), flush=True)
    print(json.dumps(ours(as_many_rays, scene, seconds) | {"rays": "as many as the peer's"}), flush=True)
    if importlib.util.find_spec("nerfstudio") is None:
        print(json.dumps({"who": "nerfacto", "missing": "nerfstudio is not installed"}))
    else:
        print(json.dumps(theirs(scene, seconds)), flush=True)


def held_out(scene: Scene) -> RayBatch:
    return RayBatches(scene, scene.test_indices, seed=HELD_OUT_SEED).next(RAYS)


def summary(who: str, steps: list[float], rays: list[int], score: float) -> dict:
    return {
        "who": who,
        "steps": len(steps),
        "seconds": round(sum(steps), 1),
        "seconds_per_step": round(statistics.median(steps), 3),
        "rays_per_step": int(statistics.median(rays)),
        "seconds_per_4096_rays": round(sum(steps) / sum(rays) * RAYS, 4),
        "psnr": round(score, 2),
        "over": f"{RAYS} held-out rays",
    }


def ours(config, scene: Scene, seconds: float) -> dict:
    method = config.method.build(scene)
    state = TrainingState.begin(method, RayBatches(scene, scene.train_indices, seed=0))
    take_step(state)  # compiles kernels
    steps, rays = [], []
    while sum(steps) < seconds:
        before = time.perf_counter()
        result = take_step(state)
        steps.append(time.perf_counter() - before)
        rays.append(result.rays)
        state.elapsed = sum(steps)
    held = held_out(scene)
    batch, colors = held.rays, held.colors
    with torch.no_grad():
        rendered = method.renderer.render(method.field, batch).color
    return summary(f"onefield {method.name}", steps, rays, psnr(rendered, colors[:, :3], 1.0))


def nerfacto(images: int):
    """The peer's model, without the metric that downloads weights when it is made."""
    if importlib.util.find_spec("torchvision") is not None:
        # a torchvision built for another torch can't be imported unless its operators have been declared
        declared = torch.library.Library("torchvision", "DEF")
        declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    from nerfstudio.data.scene_box import SceneBox
    from nerfstudio.models.nerfacto import NerfactoModelConfig
    from torchmetrics.image import lpip

    lpip.LearnedPerceptualImagePatchSimilarity = lambda **options: torch.nn.Identity()
    box = SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]))
    config = NerfactoModelConfig(implementation="torch", average_init_density=0.01, eval_num_rays_per_chunk=RAYS)
    return config.setup(scene_box=box, num_train_data=images)


def theirs(scene: Scene, seconds: float) -> dict:
    from nerfstudio.cameras.rays import RayBundle

    model = nerfacto(len(scene.train_indices))
    # nerfstudio scales a scene so that the farthest camera coordinate is 1
    scale = 1.0 / float(scene.cameras.positions[scene.train_indices].abs().max())
    order = {int(index): place for place, index in enumerate(scene.train_indices)}

    def bundle(rays) -> RayBundle:
        count = len(rays)
        places = [[order.get(int(index), 0)] for index in rays.camera_indices]
        focal = scene.cameras.focal.mean(dim=-1)[rays.camera_indices].float()
        return RayBundle(
            origins=rays.origins * scale,
            directions=rays.directions,
            pixel_area=(1.0 / focal.square())[:, None],
            camera_indices=torch.tensor(places),
            metadata={"directions_norm": torch.ones(count, 1)},
        )

    optimizer = torch.optim.Adam(model.parameters(), lr=PEER_RATE, eps=PEER_EPSILON)
    callbacks = model.get_training_callbacks(None)
    batches = RayBatches(scene, scene.train_indices, seed=0)
    model.train()
    steps: list[float] = []
    while sum(steps) < seconds:
        before = time.perf_counter()
        drawn = batches.next(RAYS)
        rays, colors = drawn.rays, drawn.colors
        callbacks[0].func(len(steps))
        outputs = model(bundle(rays))
        batch = {"image": colors[:, :3]}
        losses = model.get_loss_dict(outputs, batch, model.get_metrics_dict(outputs, batch))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        callbacks[1].func(len(steps))
        steps.append(time.perf_counter() - before)
    model.eval()
    held = held_out(scene)
    batch, colors = held.rays, held.colors
    with torch.no_grad():
        rendered = model(bundle(batch))["rgb"]
    score = psnr(rendered, colors[:, :3], 1.0)
    return summary("nerfacto (nerfstudio, torch)", steps, [RAYS] * len(steps), score)


if __name__ == "__main__":
    main()
