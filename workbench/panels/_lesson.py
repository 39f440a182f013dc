"""The frame of the small lesson panels: controls on top, one picture that is replaced in place, one line in words.

A panel of this kind computes nothing itself: it reads its controls, calls a pure function of a lower floor, and draws
the result with a function of `plots`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from ..errors import WorkbenchError
from ._careful import alert, no_control, put
from ._frame import Frame, as_png, png_of
from ._reason import reason

SLIDERS = (widgets.IntSlider, widgets.FloatSlider, widgets.SelectionSlider)


class LessonPanel:
    """Controls → result → picture and sentence.

    Args:
        controls: name → widget with a ``value``; the names are the keywords of `compute` and of `set`.
        compute: keyword arguments of the controls → a result.
        draw: (result, figure) → None.
        say: result → one sentence, the picture in words.
        figsize: of the picture, inches.

    Raises:
        WorkbenchError: from `set`, an unknown control or a value it cannot take. A fault in `compute` is shown inside
            the panel, which goes on working; `set` raises it too, so that a cell cannot miss it.
    """

    def __init__(
        self,
        controls: Mapping[str, Any],
        compute: Callable[..., Any],
        draw: Callable[[Any, Figure], Any],
        say: Callable[[Any], str],
        figsize: tuple[float, float] = (9.2, 3.6),
    ) -> None:
        self.controls = dict(controls)
        self._compute, self._draw, self._say, self._figsize = compute, draw, say, figsize
        self._result: Any = None
        self._quiet = False
        width = f"{round(100 * figsize[0])}px"  # drawn finer than shown, for dense screens
        self.picture = widgets.Image(format="png", layout=widgets.Layout(width=width, max_width="100%"))
        self.words = widgets.HTML()
        for name, control in self.controls.items():
            control.description = control.description or name
            control.style.description_width = "initial"
            if not isinstance(control, SLIDERS):  # a slider would shrink to nothing
                control.layout.width = "max-content"
            control.observe(self._changed, names="value")
        box = widgets.HBox(
            list(self.controls.values()), layout=widgets.Layout(flex_flow="row wrap", grid_gap="4px 18px")
        )
        parts = [box, self.picture, self.words]
        self.widget = Frame(parts, lambda: as_png(bytes(self.picture.value)), align_items="flex-start")
        self._good = self.state
        self._update()

    @property
    def result(self) -> Any:
        """What the panel shows now, as plain data."""
        return self._result

    @property
    def state(self) -> dict[str, Any]:
        """The controls' values: ``panel.set(**state)`` restores them."""
        return {name: control.value for name, control in self.controls.items()}

    def code(self) -> str:
        """Return the line of code that makes this panel again in this state."""
        return f"{type(self).__name__}().set({', '.join(f'{k}={v!r}' for k, v in self.state.items())})"

    def set(self, **values: Any) -> LessonPanel:
        """Set controls by name, as a hand would, and return the panel."""
        before = self.state
        self._quiet = True
        try:
            for name, value in values.items():
                if name not in self.controls:
                    raise no_control("the panel", name, self.controls)
                put(name, self.controls[name], value)
            self._update(strict=True)
        except WorkbenchError:
            self._put_back(before)
            self._update()
            raise
        finally:
            self._quiet = False
        return self

    def _changed(self, _change: Any) -> None:
        if not self._quiet and not self._update():
            self._put_back(self._good)  # what can be seen and what is chosen stay the same thing

    def _put_back(self, state: Mapping[str, Any]) -> None:
        before, self._quiet = self._quiet, True
        for name, value in state.items():
            self.controls[name].value = value
        self._quiet = before

    def _update(self, strict: bool = False) -> bool:
        try:
            result = self._compute(**self.state)
            figure = Figure(figsize=self._figsize)
            self._draw(result, figure)
            picture, words = png_of(figure, dpi=150), self._say(result)
        except Exception as e:  # whatever it is, the panel answers inside itself and goes on
            self.words.value = alert(reason(e))
            if strict:
                raise e if isinstance(e, WorkbenchError) else WorkbenchError(reason(e)) from e
            return False
        self._result, self.picture.value, self.words.value = result, picture, words
        self._good = self.state
        return True

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)
