"""Everything one can set from outside: flags, `POCHADE_…` variables and `pochade.toml`, read once, in `app.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ASSETS = Path(__file__).resolve().parent.parent / "assets"
PRESETS = ASSETS.parent / "presets"
EMBEDDED = ASSETS / "mini"


Mode = (
    Literal["auto", "whole", "offload", "groups", "groups-tiled", "8-bit", "tiled", "half"]
    | Literal["compiled", "torchao", "sdnq", "bitsandbytes"]
)


class Settings(BaseSettings):
    """A flag wins over a variable, a variable over the file, the file over the default."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="POCHADE_",
        toml_file="pochade.toml",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_prog_name="python app.py",
    )

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 lets your network in (by invitation).")
    port: int = Field(7860, ge=0, le=65535, description="Port; 0 takes a free one.")
    share: bool = Field(False, description="Open a public link through Gradio's tunnel (by invitation).")
    sign_in: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether one must sign in; auto: as soon as others can reach the studio."
    )
    trusted_proxy: tuple[str, ...] = Field(
        ("127.0.0.1", "::1"), description="Address of a proxy whose word about who is calling is taken."
    )
    allowed_host: tuple[str, ...] = Field((), description="Another host name the studio answers to (behind a proxy).")
    root_path: str = Field("", description="Path below which a proxy serves the studio, e.g. /pochade.")
    data_dir: Path = Field(Path("data"), description="Pictures, jobs and everything else the studio writes.")
    models_dir: tuple[Path, ...] = Field((), description="Folder with models; give it several times for several.")
    download_dir: Path | None = Field(None, description="Where downloaded models go; else `models` in the data folder.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where models run.")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field("auto", description="Precision of the weights.")
    threads: int = Field(0, ge=0, le=256, description="CPU threads of the engine; 0 leaves it to PyTorch.")
    memory: float = Field(0.0, ge=0, allow_inf_nan=False, description="Main memory for models in GB; 0: what is free.")
    card_memory: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="The device's own memory for models and drawing in GB; 0: all."
    )
    mode: Mode = Field("auto", description="How models are run; auto: as fast as they fit.")
    preview_every: int = Field(2, ge=0, le=150, description="Show the forming picture every n steps; 0: never.")
    filename: str = Field(
        "{number:05d}-{seed}-{prompt}",
        description="Name of a picture's file, from number, seed, model, width, height, date, time and prompt.",
    )
    safety_checker: Path | None = Field(
        None, description="Folder of the safety checker; else one that lies in a model folder."
    )
    max_pixels: int = Field(40_000_000, ge=4096, description="Largest picture that may be uploaded, in pixels.")
    hang_after: float = Field(300.0, gt=0, description="Seconds of silence after which a drawing engine is restarted.")
    quiet_hours: str = Field("", description="When guests' pictures wait, e.g. 22:00-07:30.")
    guest_jobs: int = Field(20, ge=1, description="Jobs a guest may have waiting.")
    guest_pictures: int = Field(240, ge=1, description="Pictures a guest may ask for in an hour.")
    guest_pixels: int = Field(2**22, ge=4096, description="Pixels of a picture a guest may draw.")
    guest_steps: int = Field(150, ge=1, description="Steps a guest may take for a picture, all rounds together.")
    log_format: Literal["text", "json"] = Field("text", description="Lines of the log, which go to stderr.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="What is worth a line.")
    backup: Path | None = Field(None, description="Write everything in the data folder to this zip file, then exit.")
    restore: Path | None = Field(None, description="Put such a backup into the (new) data folder, then exit.")
    prompt_help: str = Field(
        "",
        description="A language model that helps with prompts: an address (OpenAI's API, e.g. "
        "http://localhost:11434/v1), or the folder of one for transformers.",
    )
    prompt_help_model: str = Field("", max_length=200, description="Its name, where an address has several.")
    prompt_help_key: str = Field("", description="Its key; best given as POCHADE_PROMPT_HELP_KEY.")
    once: str | None = Field(None, description="Draw the requests of this JSON file (- for stdin), then exit.")
    out: Path = Field(Path(), description="Where --once writes its pictures.")
    # `schema` would shadow a method of pydantic's models, hence the alias.
    print_schema: bool = Field(False, alias="schema", description="Print the JSON schema of a request, then exit.")

    @property
    def downloads(self) -> Path:
        return self.data_dir / "models" if self.download_dir is None else self.download_dir

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """All in which models are looked for."""
        return (*self.models_dir, self.downloads)

    @classmethod
    def from_command_line(cls, arguments: list[str]) -> Settings:
        """Raises:
        ValidationError: a value out of range, in a flag, a variable or the file.
        """
        return CliApp.run(cls, cli_args=arguments)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
