"""The first pictures, in the page's HTML itself: they are on the screen before Gradio's scripts have built the page."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from starlette.requests import Request
from torch import Tensor

from . import pictures

_STYLE = """
#first { position: absolute; inset: 0 0 auto; min-height: 100vh; z-index: 1000; box-sizing: border-box;
  padding: 38px 32px; background: var(--bg); color: var(--col); font: 14px/1.45 system-ui, sans-serif; }
#first > div { max-width: 1096px; margin: 0 auto; }
#first h1 { font-size: 28px; line-height: 1.2; letter-spacing: -0.02em; margin: 0; }
#first p { max-width: 608px; margin: 5px 0 0; }
#first ul { list-style: none; padding: 0; display: grid; gap: 6px; margin: 153px 14px 0;
  grid-template-columns: repeat(8, 86px); }
#first img { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; border-radius: 6px; }
@media (prefers-color-scheme: dark) { #first { background: var(--bg-dark); color: var(--col-dark); } }
@media (max-width: 860px) {
  #first h1 { font-size: 24px; }
  #first ul { grid-template-columns: repeat(4, 1fr); margin-top: 250px; }
}
"""
# It goes when the page has pictures of its own, and in any case after a while: whatever is below must be reached.
_SCRIPT = """
(() => {
  const first = document.getElementById("first");
  const timer = setTimeout(() => leave(), 20000);
  const watcher = new MutationObserver(() => look());
  const leave = () => { watcher.disconnect(); clearTimeout(timer); first.remove(); };
  const look = () => {
    const shown = [...document.querySelectorAll("#sample .thumbnail-item img")];
    for (const image of shown) if (!image.complete) image.onload = image.onerror = look;
    if (shown.length && shown.every((image) => image.complete)) leave();
  };
  watcher.observe(document, { childList: true, subtree: true });
})();
"""


def first_paint(title: str, images: Float[Tensor, "N C H W"]) -> str:
    """HTML that stands over the page until that is there.

    Args:
        title: the page's, as HTML.
        images: those that the page opens with.
    """
    urls = [pictures.data_url(pictures.png(image)) for image in images]
    shown = "".join(f'<li><img src="{url}" alt="New picture {number}"></li>' for number, url in enumerate(urls, 1))
    return (
        f'<main id="first" aria-busy="true"><style>{_STYLE}</style><div>{title}'
        f'<p role="status">The page is loading.</p><ul>{shown}</ul></div></main><script>{_SCRIPT}</script>'
    )


def painter(content: str, is_welcome: Callable[[Request], bool]) -> Callable[[Request], str]:
    """What a visitor's page begins with.

    Args:
        content: of :func:`first_paint`.
        is_welcome: whether a visitor has logged in, where that is needed.
    """

    def paint(request: Request) -> str:
        """The pictures; nothing for those who ask for others, or must log in first."""
        return content if not request.url.query and is_welcome(request) else ""

    return paint
