"""What makes maps of pictures for ControlNets to follow: one table, read by the page and the engine. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from studio.errors import BadRequest

#: What is seen on a map, as ControlNets are told apart by it; "" where nobody knows.
Kind = Literal[
    "",
    "scribble",
    "canny",
    "softedge",
    "lineart",
    "anime",
    "mlsd",
    "pose",
    "depth",
    "normal",
    "segments",
    "tile",
    "blur",
    "grey",
    "shuffle",
]


#: Maps of each kind, as one speaks of them.
SHOWS: Final[Mapping[Kind, str]] = {
    "scribble": "drawings",
    "canny": "edges",
    "softedge": "soft edges",
    "lineart": "line art",
    "anime": "line art of anime",
    "mlsd": "straight lines",
    "pose": "poses",
    "depth": "depths",
    "normal": "surface normals",
    "segments": "segments",
    "tile": "the parts of a picture",
    "blur": "a blurred picture",
    "grey": "a grey picture",
    "shuffle": "shuffled pictures",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One number of an annotator; in whole steps it is a whole number, between 0 and 1 a switch."""

    name: str
    label: str
    minimum: float
    maximum: float
    step: float
    default: float

    def settled(self, given: float) -> float | int:
        return round(given) if self.step >= 1 else given


@dataclass(frozen=True, slots=True)
class File:
    """Of a repository of the hub; `size` in bytes, as far as the hub has told."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Annotator:
    """`detector`: a class of controlnet_aux, a folder of transformers, or "" for what the studio does itself; `told`:
    what it is always told. `files` of `repo` are its weights, `packages` what it needs besides."""

    key: str
    title: str
    group: str
    kind: Kind
    detector: str = ""
    parameters: tuple[Parameter, ...] = ()
    told: Mapping[str, object] = field(default_factory=dict)
    repo: str = ""
    files: tuple[File, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def settled(self, given: Mapping[str, float]) -> dict[str, float | int]:
        """All its parameters, those not given at their defaults.

        Raises:
            BadRequest: one it does not have, or out of range.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in given.items():
            if name not in known:
                raise BadRequest(f"{self.title} has no parameter “{name}”; leave it out.")
            low, high = known[name].minimum, known[name].maximum
            if not low <= value <= high:
                raise BadRequest(f"{known[name].label} of {self.title} must be between {low:g} and {high:g}.")
        return {name: parameter.settled(given.get(name, parameter.default)) for name, parameter in known.items()}


#: Pixels of the shorter side at which it is looked at; 0: as many as are drawn.
RESOLUTION: Final = Parameter("resolution", "Detail (pixels, 0: as drawn)", 0, 2048, 64, 0)
_SAFE: Final = Parameter("safe", "Fewer levels", 0, 1, 1, 0)
_SIGMA: Final = Parameter("guassian_sigma", "Softness", 0.5, 20, 0.5, 6)  # spelt as controlnet_aux has it
_SOFT: Final = Parameter("intensity_threshold", "Faintest line", 0, 64, 1, 8)
_LLLYASVIEL: Final = "lllyasviel/Annotators"
_HED: Final = (File("ControlNetHED.pth", 29_444_406),)
_PIDI: Final = (File("table5_pidinet.pth", 2_871_148),)
_LINES: Final = (File("sk_model.pth", 17_173_511), File("sk_model2.pth", 17_173_511))
_LERES: Final = (File("res101.pth", 530_760_553), File("latest_net_G.pth", 318_268_048))
_BODY: Final = tuple(
    File(name, size)
    for name, size in (
        ("body_pose_model.pth", 209_267_595),
        ("hand_pose_model.pth", 147_341_049),
        ("facenet.pth", 153_718_792),
    )
)

_ROWS: Final = (
    Annotator("none", "As it is", "Map", ""),
    Annotator(
        "scribble",
        "Drawing",
        "Lines",
        "scribble",
        parameters=(Parameter("threshold", "Faintest stroke", 1, 254, 1, 64),),
    ),
    Annotator(
        "canny",
        "Canny edges",
        "Lines",
        "canny",
        "CannyDetector",
        (
            Parameter("low_threshold", "Weakest edge", 1, 255, 1, 100),
            Parameter("high_threshold", "Strong edge", 1, 255, 1, 200),
            RESOLUTION,
        ),
    ),
    Annotator(
        "lineart_standard",
        "Line art, standard",
        "Lines",
        "lineart",
        "LineartStandardDetector",
        (_SIGMA, _SOFT, RESOLUTION),
    ),
    Annotator(
        "lineart",
        "Line art, realistic",
        "Lines",
        "lineart",
        "LineartDetector",
        (Parameter("coarse", "Coarse", 0, 1, 1, 0), RESOLUTION),
        repo=_LLLYASVIEL,
        files=_LINES,
    ),
    Annotator(
        "lineart_anime",
        "Line art, anime",
        "Lines",
        "anime",
        "LineartAnimeDetector",
        (RESOLUTION,),
        repo=_LLLYASVIEL,
        files=(File("netG.pth", 217_672_063),),
    ),
    Annotator(
        "softedge_hed",
        "Soft edges, HED",
        "Lines",
        "softedge",
        "HEDdetector",
        (_SAFE, RESOLUTION),
        {"scribble": False},
        _LLLYASVIEL,
        _HED,
    ),
    Annotator(
        "softedge_pidi",
        "Soft edges, PiDi",
        "Lines",
        "softedge",
        "PidiNetDetector",
        (_SAFE, RESOLUTION),
        {"scribble": False},
        _LLLYASVIEL,
        _PIDI,
    ),
    Annotator(
        "scribble_hed",
        "Scribble, HED",
        "Lines",
        "scribble",
        "HEDdetector",
        (RESOLUTION,),
        {"scribble": True},
        _LLLYASVIEL,
        _HED,
    ),
    Annotator(
        "scribble_pidi",
        "Scribble, PiDi",
        "Lines",
        "scribble",
        "PidiNetDetector",
        (RESOLUTION,),
        {"scribble": True},
        _LLLYASVIEL,
        _PIDI,
    ),
    Annotator(
        "teed",
        "Soft edges, TEED",
        "Lines",
        "softedge",
        "TEEDdetector",
        (Parameter("safe_steps", "Levels", 0, 10, 1, 2), RESOLUTION),
        repo="fal-ai/teed",
        files=(File("5_model.pth", 265_000),),
    ),
    Annotator(
        "anyline",
        "Any line",
        "Lines",
        "lineart",
        "AnylineDetector",
        (Parameter("guassian_sigma", "Softness", 0.5, 20, 0.5, 2), _SOFT, RESOLUTION),
        repo="TheMistoAI/MistoLine",
        files=(File("Anyline/MTEED.pth", 293_000),),
    ),
    Annotator(
        "mlsd",
        "Straight lines",
        "Lines",
        "mlsd",
        "MLSDdetector",
        (
            Parameter("thr_v", "Faintest line", 0.01, 2, 0.01, 0.1),
            Parameter("thr_d", "Shortest line", 0.01, 20, 0.01, 0.1),
            RESOLUTION,
        ),
        repo=_LLLYASVIEL,
        files=(File("mlsd_large_512_fp32.pth", 6_341_481),),
    ),
    Annotator(
        "openpose",
        "OpenPose",
        "Pose",
        "pose",
        "OpenposeDetector",
        (
            Parameter("include_body", "Body", 0, 1, 1, 1),
            Parameter("include_hand", "Hands", 0, 1, 1, 0),
            Parameter("include_face", "Face", 0, 1, 1, 0),
            RESOLUTION,
        ),
        repo=_LLLYASVIEL,
        files=_BODY,
    ),
    Annotator(
        "dwpose", "DWPose", "Pose", "pose", "DWposeDetector", (RESOLUTION,), packages=("mmpose", "mmdet", "mmcv")
    ),
    Annotator(
        "depth_anything",
        "Depth Anything",
        "Depth",
        "depth",
        "transformers",
        (RESOLUTION,),
        repo="depth-anything/Depth-Anything-V2-Small-hf",
        files=(
            File("config.json", 900),
            File("preprocessor_config.json", 800),
            File("model.safetensors", 99_173_660),
        ),
    ),
    Annotator(
        "depth_midas",
        "Depth, MiDaS",
        "Depth",
        "depth",
        "MidasDetector",
        (RESOLUTION,),
        repo=_LLLYASVIEL,
        files=(File("dpt_hybrid-midas-501f0c75.pt", 492_757_791),),
    ),
    Annotator(
        "depth_zoe",
        "Depth, ZoE",
        "Depth",
        "depth",
        "ZoeDetector",
        (RESOLUTION,),
        repo=_LLLYASVIEL,
        files=(File("ZoeD_M12_N.pt", 1_443_406_099),),
    ),
    Annotator(
        "depth_leres",
        "Depth, LeReS",
        "Depth",
        "depth",
        "LeresDetector",
        (
            Parameter("boost", "Finer (slow)", 0, 1, 1, 0),
            Parameter("thr_a", "Cut the near (%)", 0, 100, 1, 0),
            Parameter("thr_b", "Cut the far (%)", 0, 100, 1, 0),
            RESOLUTION,
        ),
        repo=_LLLYASVIEL,
        files=_LERES,
    ),
    Annotator(
        "normal_bae",
        "Surface normals",
        "Depth",
        "normal",
        "NormalBaeDetector",
        (RESOLUTION,),
        repo=_LLLYASVIEL,
        files=(File("scannet.pt", 291_098_211),),
    ),
    Annotator(
        "segment_anything",
        "Segments",
        "Areas",
        "segments",
        "SamDetector",
        (RESOLUTION,),
        repo="dhkim2810/MobileSAM",
        files=(File("mobile_sam.pt", 40_728_226),),
    ),
    Annotator(
        "shuffle",
        "Shuffle",
        "Picture",
        "shuffle",
        "ContentShuffleDetector",
        (
            Parameter("f", "Coarseness", 16, 512, 1, 256),
            Parameter("seed", "Seed", 0, 2**31 - 1, 1, 0),
            RESOLUTION,
        ),
    ),
    Annotator("tile", "Tile", "Picture", "tile", parameters=(Parameter("shrink", "Coarseness", 1, 16, 1, 1),)),
    Annotator("blur", "Blur", "Picture", "blur", parameters=(Parameter("sigma", "Radius", 0.5, 64, 0.5, 9),)),
    Annotator("grey", "Grey", "Picture", "grey"),
    Annotator("invert", "Invert", "Picture", "lineart"),
    Annotator(
        "threshold",
        "Threshold",
        "Picture",
        "scribble",
        parameters=(Parameter("threshold", "White above", 0, 255, 1, 128),),
    ),
)
ANNOTATORS: Final[Mapping[str, Annotator]] = {row.key: row for row in _ROWS}


def find(key: str) -> Annotator:
    """Raises:
    BadRequest: there is none of that name.
    """
    found = ANNOTATORS.get(key)
    if found is None:
        raise BadRequest(f"There is no annotator “{key}”; choose one of the list, or none for a map as it is.")
    return found
