"""The configuration of a whole method: field, sampler, objective, background, training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import torch

from onefield.configs.distractors import against_distractors
from onefield.configs.fields import STARTED_FROM_SCENE, DistanceField, FieldConfig, HashField, sized_field
from onefield.configs.gaussians import GaussianSet
from onefield.configs.objective import build_objective
from onefield.configs.renderers import MeshRaster, RayCast, RendererConfig, Splat, Volume
from onefield.configs.samplers import Occupancy, Outlook, Proposal, SamplerConfig
from onefield.configs.strategies import build_strategies
from onefield.data.scene import Scene
from onefield.errors import UsageError, nearest_name
from onefield.fields.field import Field
from onefield.losses.line_of_sight import SIGHT_WEIGHT
from onefield.losses.near_space import NEAR_WEIGHT
from onefield.losses.occupied import PREFIX
from onefield.losses.opacity import CARVE_WEIGHT
from onefield.renderers.background import Background, Black, Learned, Random, White
from onefield.renderers.gaussian_rays import GaussianRayRenderer
from onefield.renderers.mesh import MeshRenderer
from onefield.renderers.renderer import Renderer
from onefield.renderers.sampling.sampler import Sampler
from onefield.renderers.splat import SplatRenderer
from onefield.renderers.volume import VolumeRenderer
from onefield.training.appearance import build_appearance
from onefield.training.method import DEPTH_TERMS, NORMAL_TERMS, RELATIVE_TERMS, Method
from onefield.training.poses import PoseRefinement
from onefield.training.settings import TrainingSettings

BACKGROUNDS: dict[str, type[Background]] = {"white": White, "black": Black, "random": Random, "learned": Learned}


# Points of structure from motion have outliers, and stand only where there is texture; LLFF takes 0.9 of the depth of
# the nearest thousandth. A limit too near costs more than one that cuts a corner: with half the depth, 20 photos of a
# figure ended 2 dB lower. Without points, nobody photographs from closer than a tenth of the usual distance.
POINT_QUANTILE, POINT_MARGIN = 0.005, 0.8
DISTANCE_SHARE = 0.1
# Proposals learn from nothing else, and nothing else learns from it (mip-NeRF 360, eq. 13).
INTERLEVEL_WEIGHT = 1.0
# A twentieth of the paper's, which is given to scenes that are nearly learned; here it would take surfels apart. Open
# scenes get none: where surfels lie apart near the camera it is far too large, and cost `fox` 6 dB.
DEPTH_DISTORTION_WEIGHT = 50.0
# Of depth and normals from maps, for the distance and for the occupancy (the code published with the Occ-SDF hybrid).
RELATIVE_DEPTH_WEIGHT, NORMAL_WEIGHT = 0.1, 0.05
BY_RAYS = Volume()
# Losses on the depth that splats themselves show, and those that need whole pictures at all.
SHAPE_TERMS = ("depth_distortion", "normal_consistency")
PICTURE_TERMS = ("dssim", *SHAPE_TERMS)
# Enough points for a quantile.
FEWEST_POINTS = 100


def nearest_content(scene: Scene) -> float:
    """Distance from the cameras within which nothing is expected, normalised units.

    What floats close to a lens explains one photo and spoils all others, so samplers start behind it.
    """
    positions = scene.cameras.positions[scene.train_indices]
    usual = DISTANCE_SHARE * float(positions.norm(dim=-1).median())
    if scene.points is None or len(scene.points.points) < FEWEST_POINTS:
        return usual
    forwards = scene.cameras.forwards[scene.train_indices]
    offsets = scene.points.points.double()[None] - positions[:, None]
    depths = (offsets * forwards[:, None]).sum(-1)
    seen = depths[depths > 0]
    if len(seen) == 0:
        return usual
    ordered = seen.sort().values
    return max(usual, POINT_MARGIN * float(ordered[int(POINT_QUANTILE * (len(ordered) - 1))]))


def outlook(scene: Scene) -> Outlook:
    """What samplers need to know of a scene's training views."""
    cameras = scene.cameras[scene.train_indices]
    angles = 1 / cameras.focal.mean(dim=-1)
    pixels = cameras.positions.norm(dim=-1) * angles
    return Outlook(
        bounded=scene.bounded,
        extent=scene.extent_scale,
        near=nearest_content(scene),
        pixel=float(pixels.median()),
        pixel_angle=float(angles.median()),
    )


def wanted_losses(
    weights: dict[str, float], scene: Scene, sampler: SamplerConfig, renderer: RendererConfig = BY_RAYS
) -> dict[str, float]:
    """The weights of a configuration, and those that the scene's masks, points and maps and the sampler ask for.

    Raises:
        UsageError: depth or normals are weighed in, but the scene has none, or depth in two units.
    """
    _check_maps(weights, scene, renderer)
    asked = {}
    if scene.mask_meaning == "carve":
        asked["carve"] = CARVE_WEIGHT
    volume = isinstance(renderer, Volume)
    if any(weight for name, weight in weights.items() if name.startswith(PREFIX)):
        # what the hybrid was made for
        if scene.depths is not None and not any(weights.get(name) for name in DEPTH_TERMS):
            asked |= dict.fromkeys(RELATIVE_TERMS, RELATIVE_DEPTH_WEIGHT)
        if scene.normals is not None:
            asked |= dict.fromkeys(NORMAL_TERMS, NORMAL_WEIGHT)
    relative = any((asked | weights).get(name) for name in RELATIVE_TERMS)
    if volume and scene.sightings is not None and not scene.bounded:
        asked |= {"near_space": NEAR_WEIGHT} if relative else {"line_of_sight": SIGHT_WEIGHT, "near_space": NEAR_WEIGHT}
    if volume and isinstance(sampler, Proposal):
        asked["interlevel"] = INTERLEVEL_WEIGHT
    if isinstance(renderer, Splat) and renderer.primitive == "surfels" and scene.bounded:
        asked["depth_distortion"] = DEPTH_DISTORTION_WEIGHT
    return asked | weights


def _check_maps(weights: dict[str, float], scene: Scene, renderer: RendererConfig) -> None:
    named = [name for name in DEPTH_TERMS if weights.get(name)]
    cure = "; leave it out, or name depth maps in the dataset (depth_file_path in transforms.json)."
    if named and scene.depths is None and scene.sightings is None:
        raise UsageError(
            f"losses.{named[0]} is {weights[named[0]]:g}, but {scene.path} has neither depth maps nor points that its "
            f"views saw{cure}"
        )
    relative = [name for name in RELATIVE_TERMS if weights.get(name)]
    metric = [name for name in DEPTH_TERMS if weights.get(name) and name not in RELATIVE_TERMS]
    if relative and scene.depths is None:
        raise UsageError(f"losses.{relative[0]} is {weights[relative[0]]:g}, but {scene.path} has no depth maps{cure}")
    if relative and metric:
        raise UsageError(
            f"losses.{relative[0]} takes depth maps in any unit and losses.{metric[0]} in the scene's; leave one out."
        )
    turned = [name for name in NORMAL_TERMS if weights.get(name)]
    if turned and scene.normals is None:
        raise UsageError(
            f"losses.{turned[0]} is {weights[turned[0]]:g}, but {scene.path} has no normal maps; leave it out, or name "
            "normal maps in the dataset (normal_file_path in transforms.json)."
        )
    if turned and not isinstance(renderer, Volume):
        raise UsageError(f"losses.{turned[0]} needs samples along rays; leave it out, or take '--method neus'.")


@dataclass(frozen=True)
class MethodConfig:
    """A method, complete: rerunning it on the same scene repeats the run.

    Attributes:
        method: name of the preset that it started from.
        losses: weight of each summand of the objective, by name.
        background: ``auto`` takes random colours in training, which nothing dark or bright can hide in, and white in
            evaluation, for photos with alpha and for open scenes (500 to 600 steps gained 0.2 dB on `lego` and 0.3 on
            `fox`, and what is white or black has no holes); another background where the scene's format asks for it;
            and black where photos show a background that is no part of the region. Splats are compared in whole
            neighbourhoods of pixels, which noise behind them would drown: they take white with alpha, else black.
        renderer: how pixels come from the field; sets of Gaussians, splatted or cast, need no sampler.
        prefilter: ask for density without gradients first and train only on samples that are seen.
        refine_poses: learn corrections of the training cameras.
        appearance: learned for each image: ``none``, ``exposure``, ``affine`` or ``code``.
        distractors: what keeps passers-by and the like, which single photos show, out of a set of Gaussians: ``none``;
            ``dual``, a second model with masks of another kind, for twice the memory and thrice the time; or ``ema``, a
            running average of the first model instead, for half as much more memory and a third more time.
    """

    method: str
    field: FieldConfig = dataclasses.field(default_factory=HashField)
    renderer: RendererConfig = dataclasses.field(default_factory=Volume)
    sampler: SamplerConfig = dataclasses.field(default_factory=Occupancy)
    losses: dict[str, float] = dataclasses.field(default_factory=lambda: {"huber": 1.0})
    background: str = "auto"
    prefilter: bool = True
    refine_poses: bool = False
    appearance: str = "none"
    distractors: str = "none"
    training: TrainingSettings = dataclasses.field(default_factory=TrainingSettings)

    def build(self, scene: Scene, starting: bool = True) -> Method:
        """Makes the method for a scene, with all parameters drawn from the training seed.

        Args:
            starting: whether it is going to be trained from nothing; a set of Gaussians whose values a checkpoint will
                bring needs none of what it started from.

        Raises:
            DataError: what a set of Gaussians starts from can't be read.
            UsageError: parts that can't meet, or an unknown loss or background.
        """
        if self.distractors == "none":
            return self._alone(scene, starting)
        other = replace(self, training=replace(self.training, seed=self.training.seed + 1))
        return against_distractors(
            self.distractors, scene, self._alone(scene, starting), lambda: other._alone(scene, starting)
        )

    def _alone(self, scene: Scene, starting: bool) -> Method:
        """One model, without what distractors ask for."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            built = self._built_field(scene, starting)
            sampler = self.sampler.build(outlook(scene))
            background = self._background(scene)
            appearance = build_appearance(self.appearance, len(scene), scene.train_indices, scene.alpha)
        weights = wanted_losses(self.losses, scene, self.sampler, self.renderer)
        objective = build_objective(weights, built)
        renderer = self._renderer(sampler, background, weights, scene)
        renderer.check(built)
        if isinstance(self.renderer, Volume) and isinstance(self.sampler, Occupancy):
            sampler.mark_invisible(scene.cameras[scene.train_indices])
        return Method(
            name=self.method,
            field=built,
            renderer=renderer,
            objective=objective if appearance is None else (*objective, appearance.prior()),
            settings=self.training,
            strategies=build_strategies(self.field, built, scene),
            poses=PoseRefinement(scene.cameras, scene.train_indices) if self.refine_poses else None,
            appearance=appearance,
            rates=self.field.rates(scene) if isinstance(self.field, STARTED_FROM_SCENE) else {},
        )

    def _built_field(self, scene: Scene, starting: bool) -> Field:
        if not (starting and isinstance(self.field, STARTED_FROM_SCENE)):
            return sized_field(self.field, scene)
        if isinstance(self.field, GaussianSet):
            return self.field.started(scene, flat=self._draws_surfels)
        return self.field.started(scene)

    @property
    def _draws_surfels(self) -> bool:
        return isinstance(self.renderer, Splat) and self.renderer.primitive == "surfels"

    def _renderer(self, sampler: Sampler, background: Background, weights: dict[str, float], scene: Scene) -> Renderer:
        of_pictures = [name for name in PICTURE_TERMS if weights.get(name)]
        whole = isinstance(self.renderer, Splat) or (of_pictures == ["dssim"] and isinstance(self.renderer, MeshRaster))
        if of_pictures and not whole:
            raise UsageError(
                f"losses.{of_pictures[0]} is {weights[of_pictures[0]]:g}, but volumes learn from single rays; leave "
                "it out, or splat (renderer.kind=splat)."
            )
        if isinstance(self.renderer, Volume):
            occupied = any(name.startswith(PREFIX) and weight for name, weight in weights.items())
            return VolumeRenderer(sampler, background, prefilter=self.prefilter, occupied=occupied)
        if isinstance(self.renderer, MeshRaster):
            return MeshRenderer(background)
        if isinstance(self.renderer, RayCast):
            return GaussianRayRenderer(
                background,
                step=self.renderer.step,
                cone=0.0 if scene.bounded else self.renderer.cone,
                near=outlook(scene).near,
                early_stop=self.renderer.early_stop,
            )
        return SplatRenderer(
            background,
            primitive=self.renderer.primitive,
            school=self.renderer.rules(outlook(scene).near, scene.transform.scale),
            depths=any(weights.get(name) for name in (*DEPTH_TERMS, *SHAPE_TERMS)),
            normals=bool(weights.get("normal_consistency")),
            tallied=isinstance(self.field, GaussianSet) and self.field.densification == "absolute",
        )

    def _background(self, scene: Scene) -> Background:
        name = self.background
        if name == "auto":
            name = self._suited_background(scene)
        if name not in BACKGROUNDS:
            raise UsageError(f"Unknown background '{name}': {nearest_name(name, ('auto', *BACKGROUNDS))}.")
        return BACKGROUNDS[name]()

    def _suited_background(self, scene: Scene) -> str:
        if isinstance(self.renderer, (Splat, MeshRaster)):
            return scene.background or ("white" if scene.alpha else "black")
        if scene.background not in (None, "white"):
            return scene.background
        ends = scene.bounded or isinstance(self.field, DistanceField)
        return "random" if scene.alpha or not ends else scene.background or "black"
