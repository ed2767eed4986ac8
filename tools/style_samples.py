"""Draw a small picture of every style the embedded model can show: `python -m tools.style_samples`.

It was taught a few styles, times and weathers by name; a style that begins with one of those words is shown, all others
are left without a picture rather than given a wrong one, also those that only its LoRAs know. Run it again when the
model or the styles have changed; `--missing` draws those that are not there yet, `--quick` smaller, in fewer steps,
where there is no time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image

from studio.presets import SAMPLES, Presets, Style
from studio.settings import PRESETS
from tools.mini import vocabulary
from tools.mini.scene import STYLES

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = PRESETS / SAMPLES
PROMPT: Final = "a red sailboat on the sea"
SEED: Final = 3
SIDE: Final = 160
QUICK: Final = {"width": 128, "height": 128, "steps": 12}
_TAUGHT: Final = {phrase for style in STYLES for phrase in vocabulary.STYLE_WORDS[style]}
_TIMES: Final = {phrase for words in vocabulary.TIME_PHRASES.values() for phrase in (*words.anywhere, *words.outdoors)}


def shown(style: Style) -> bool:
    """Whether the embedded model knows what the style asks for first."""
    first = style.prompt.replace("{prompt}", "").strip(" ,").partition(",")[0]
    return first in _TAUGHT or first in _TIMES


def main(arguments: list[str]) -> int:
    look = QUICK if "--quick" in arguments else {}
    styles = [style for style in Presets(PRESETS).styles() if shown(style)]
    for old in set(FOLDER.glob("*.webp")) - {_file(style) for style in styles}:
        old.unlink()
    wanted = [style for style in styles if "--missing" not in arguments or not _file(style).exists()]
    requests = [{"prompt": PROMPT, "seed": SEED, "styles": [style.name], **look} for style in wanted]
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "app.py", "--once", "-", "--out", folder]
        with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as drawing:
            assert drawing.stdin is not None
            assert drawing.stdout is not None
            drawing.stdin.write(json.dumps(requests))
            drawing.stdin.close()
            for style, line in zip(wanted, drawing.stdout, strict=False):
                _keep(Path(json.loads(line)["path"]), _file(style))
                print(f"{style.name}: {_file(style).stat().st_size} bytes", flush=True)
    missing = [style.name for style in styles if not _file(style).exists()]
    print(f"{len(styles) - len(missing)} samples, {sum(f.stat().st_size for f in FOLDER.glob('*.webp')) // 1024} KB")
    return 1 if missing else 0


def _file(style: Style) -> Path:
    return FOLDER / f"{style.slug}.webp"


def _keep(drawn: Path, sample: Path) -> None:
    with Image.open(drawn) as picture:
        small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    small.save(sample, "WEBP", quality=82, method=6)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
