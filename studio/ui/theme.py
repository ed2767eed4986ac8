"""Gradio's theme in the studio's colours, which live as CSS variables in `assets/css/base.css`, dark and light."""

from __future__ import annotations

from typing import Final

import gradio as gr
from gradio.themes.utils import colors, sizes

_GREY: Final = colors.Color(
    c50="#f7f7f5",
    c100="#efefed",
    c200="#dededb",
    c300="#c6c6c3",
    c400="#a0a09d",
    c500="#787876",
    c600="#5a5a58",
    c700="#404040",
    c800="#2c2c2c",
    c900="#212121",
    c950="#181818",
    name="grey",
)
_SYSTEM_FONTS: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO_FONTS: Final = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def pochade() -> gr.themes.Base:
    theme = gr.themes.Base(
        primary_hue=_GREY,
        secondary_hue=_GREY,
        neutral_hue=_GREY,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        font=_SYSTEM_FONTS,
        font_mono=_MONO_FONTS,
    )
    theme.set(
        body_background_fill="var(--ground)",
        body_text_color="var(--text)",
        body_text_color_subdued="var(--muted)",
        background_fill_primary="var(--panel)",
        background_fill_secondary="var(--raised)",
        border_color_primary="var(--line)",
        border_color_accent="var(--line-strong)",
        color_accent="var(--accent)",
        color_accent_soft="var(--raised)",
        link_text_color="var(--text)",
        link_text_color_hover="var(--text)",
        link_text_color_active="var(--text)",
        link_text_color_visited="var(--text)",
        block_background_fill="transparent",
        block_border_width="0px",
        block_border_color="transparent",
        block_shadow="none",
        block_padding="0px",
        block_radius="8px",
        block_label_background_fill="transparent",
        block_label_border_width="0px",
        block_label_text_color="var(--muted)",
        block_title_text_color="var(--muted)",
        block_title_text_size="13px",
        block_title_text_weight="500",
        block_title_background_fill="transparent",
        block_title_border_width="0px",
        block_title_padding="0px",
        block_info_text_color="var(--muted)",
        block_info_text_size="12px",
        panel_background_fill="transparent",
        panel_border_width="0px",
        section_header_text_size="13px",
        input_background_fill="var(--field)",
        input_background_fill_focus="var(--field)",
        input_background_fill_hover="var(--field)",
        input_border_color="var(--line)",
        input_border_color_focus="var(--focus)",
        input_border_color_hover="var(--line-strong)",
        input_border_width="1px",
        input_placeholder_color="var(--muted)",
        input_radius="8px",
        input_shadow="none",
        input_shadow_focus="none",
        input_text_size="14px",
        input_padding="8px 12px",
        layout_gap="16px",
        form_gap_width="0px",
        slider_color="var(--line-strong)",
        stat_background_fill="var(--accent)",
        error_background_fill="var(--panel)",
        error_border_color="var(--line-strong)",
        error_text_color="var(--text)",
        error_icon_color="var(--accent)",
        button_border_width="1px",
        button_large_radius="8px",
        button_large_text_size="15px",
        button_large_text_weight="600",
        button_primary_background_fill="var(--accent)",
        button_primary_background_fill_hover="var(--accent-hover)",
        button_primary_border_color="transparent",
        button_primary_border_color_hover="transparent",
        button_primary_text_color="var(--on-accent)",
        button_primary_text_color_hover="var(--on-accent)",
        button_primary_shadow="none",
        button_primary_shadow_hover="none",
        button_primary_shadow_active="none",
        button_secondary_background_fill="var(--raised)",
        button_secondary_background_fill_hover="var(--raised-hover)",
        button_secondary_border_color="var(--line)",
        button_secondary_border_color_hover="var(--line-strong)",
        button_secondary_text_color="var(--text)",
        button_secondary_text_color_hover="var(--text)",
        button_secondary_shadow="none",
        button_secondary_shadow_hover="none",
        button_secondary_shadow_active="none",
        button_transform_hover="none",
        button_transform_active="none",
        button_transition="background-color 120ms",
    )
    # Both schemes come from our own variables, so Gradio must not add opinions of its own to the dark one.
    for name in list(vars(theme)):
        if name.endswith("_dark"):
            setattr(theme, name, getattr(theme, name.removesuffix("_dark")))
    return theme
