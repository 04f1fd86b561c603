"""Style of the page: readable colours, no space for empty parts, nothing wider than a phone."""

from typing import Any

# Gradio inserts its own prefix after every comma, so a selector's brackets must not contain one.
CSS = """
.said:not(:has(p)):not(:has(img)):not(:has(video)):not(:has(button)) { display: none !important; }
.said p { margin: 0; overflow-wrap: anywhere; }
p.wrong { color: #b3261e; font-weight: 600; } .dark p.wrong { color: #ff8a80; }
p.hint { opacity: 0.85; font-size: 0.9em; }
p.state { font-weight: 600; font-size: 1.1em; }
#status progress { width: 100%; height: 0.6rem; appearance: none; border: none; }
#status progress::-webkit-progress-bar { background: #a1a1aa66; border-radius: 4px; }
#status progress::-webkit-progress-value { background: #2563eb; border-radius: 4px; }
#status progress::-moz-progress-bar { background: #2563eb; }
img.preview { width: 100%; height: 28rem; max-height: 80vw; object-fit: contain; image-rendering: pixelated; }
#player video { width: 100%; max-height: 28rem; object-fit: contain; background: #000; border-radius: 8px; }
#player a { font-size: 0.9em; text-decoration: underline; }
#gallery { max-height: 30rem; overflow-y: auto; }
#gallery [data-job] { display: inline-block; width: calc(25% - 8px); min-width: 120px; margin: 4px; padding: 0;
    vertical-align: top; text-align: left; cursor: pointer; background: none; border: none; }
#gallery img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #0003; border-radius: 8px; }
#gallery span { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden;
    font-size: 0.8em; font-weight: normal; overflow-wrap: anywhere; }
#receipt textarea { font-family: ui-monospace, monospace; font-size: 0.8em; overflow-wrap: anywhere; }
"""


def theme() -> Any:
    """Return Gradio's theme with the machine's fonts, and with enough contrast in grey text and the main button."""
    import gradio as gr

    fonts: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return gr.themes.Default(primary_hue="blue", **fonts).set(
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
