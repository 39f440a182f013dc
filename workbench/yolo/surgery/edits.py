"""The finished surgery on ultralytics' ``nn/tasks.py``, as data: an anchor that must occur once, and what replaces it.

Three of the five steps are the articles': `parse_model` learns a row that is a whole backbone (``branch``), the layer
index is shifted so that this one row stands for five layers (``shift``), and `_predict_once` unpacks the returned list
(``forward``). ``rtdetr`` repeats the third in RT-DETR's own `predict`; ``batchnorm`` keeps the backbone's batch
normalisation as its authors set it. Anchors instead of line numbers: in a fork that differs elsewhere in the file they
are still found.
"""

from __future__ import annotations

from typing import NamedTuple

KNOWN_VERSIONS = ("8.4.190",)  # the ultralytics whose tasks.py these anchors were written against and tested with


class Edit(NamedTuple):
    """One replacement of whole lines: `anchor` is once in the untouched file, `new` once in the edited one."""

    step: str
    where: str  # the function it is in
    why: str
    anchor: str
    new: str


EDITS: tuple[Edit, ...] = (
    Edit(
        "branch",
        "the module's imports",
        "which names are backbones, and the function that builds one",
        """\
    time_sync,
)


class BaseModel(torch.nn.Module):
""",
        """\
    time_sync,
)
from workbench.backbones import create_backbone, is_backbone


class BaseModel(torch.nn.Module):
""",
    ),
    Edit(
        "branch",
        "parse_model",
        "a backbone's name is looked up in the registry, every other name as before",
        """\
        m = (
            getattr(torch.nn, m[3:])
            if m.startswith("nn.")
            else getattr(__import__("torchvision").ops, m[16:])
""",
        """\
        backbone = None
        if is_backbone(m):  # arguments: none, a dict of configuration keywords, or the StarNet article's [depth, width]
            config = (args[0] if isinstance(args[0], dict) else {"width": args[1], "round_to": 8}) if args else {}
            backbone = create_backbone(m, in_chans=ch[f], **config)
        m = (
            type(backbone)
            if backbone is not None
            else getattr(torch.nn, m[3:])
            if m.startswith("nn.")
            else getattr(__import__("torchvision").ops, m[16:])
""",
    ),
    Edit(
        "branch",
        "parse_model",
        "the row's width list: nothing at stride 2, then the channels of P2 to P5",
        "        if m in base_modules:\n            c1, c2 = ch[f], args[0]\n",
        """\
        if backbone is not None:
            c2 = [0, *(level.channels for level in backbone.feature_info)]
        elif m in base_modules:
            c1, c2 = ch[f], args[0]
""",
    ),
    Edit(
        "branch",
        "parse_model",
        "the backbone is built already; its width list marks it for the forward loops",
        "        m_ = torch.nn.Sequential(*(m(*args) for _ in range(n))) if n > 1 else m(*args)  # module\n",
        """\
        if backbone is not None:
            m_ = backbone
            m_.width_list = c2
        else:
            m_ = torch.nn.Sequential(*(m(*args) for _ in range(n))) if n > 1 else m(*args)  # module
""",
    ),
    Edit(
        "shift",
        "parse_model",
        "rows and layers are no longer the same count",
        """\
    for i, (f, n, m, args) in enumerate(d["backbone"] + d["head"]):  # from, number, module, args
""",
        """\
    shift = 0  # layers that backbone rows have added so far
    for i, (f, n, m, args) in enumerate(d["backbone"] + d["head"]):  # from, number, module, args
        i += shift
""",
    ),
    Edit(
        "shift",
        "parse_model",
        "one row, five layers: five channel entries, and every later row moves by four",
        """\
        if i == 0:
            ch = []
        ch.append(c2)
    Conv.default_act = default_act
""",
        """\
        if i == 0:
            ch = []
        if backbone is not None:
            ch.extend(c2)
            shift += len(c2) - 1
        else:
            ch.append(c2)
    Conv.default_act = default_act
""",
    ),
    Edit(
        "forward",
        "BaseModel._predict_once",
        "a backbone returns four maps: they fill layers i + 1 to i + 4, and layer i holds nothing",
        """\
            x = m(x)  # run
            y.append(x if m.i in self.save else None)  # save output
            if m.i in embed:
                embeddings.append(torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))  # flatten
                if m.i == max_idx:
                    return torch.unbind(torch.cat(embeddings, 1), dim=0)
        return x

    def _predict_augment(self, x):
        \"\"\"Perform augmentations on input image x and return augmented inference.\"\"\"
""",
        """\
            for x in [None, *m(x)] if hasattr(m, "width_list") else [m(x)]:  # run
                i = len(y)
                y.append(x if i in self.save else None)  # save output
                if i in embed:
                    embeddings.append(torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))
                    if i == max_idx:
                        return torch.unbind(torch.cat(embeddings, 1), dim=0)
        return x

    def _predict_augment(self, x):
        \"\"\"Perform augmentations on input image x and return augmented inference.\"\"\"
""",
    ),
    Edit(
        "rtdetr",
        "RTDETRDetectionModel.predict",
        "RT-DETR runs its layers in a loop of its own, which never calls _predict_once",
        """\
            x = m(x)  # run
            y.append(x if m.i in self.save else None)  # save output
            if m.i in embed:
                embeddings.append(torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))  # flatten
                if m.i == max_idx:
                    return torch.unbind(torch.cat(embeddings, 1), dim=0)
        head = self.model[-1]
""",
        """\
            for x in [None, *m(x)] if hasattr(m, "width_list") else [m(x)]:  # run
                i = len(y)
                y.append(x if i in self.save else None)  # save output
                if i in embed:
                    embeddings.append(torch.nn.functional.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1))
                    if i == max_idx:
                        return torch.unbind(torch.cat(embeddings, 1), dim=0)
        head = self.model[-1]
""",
    ),
    Edit(
        "batchnorm",
        "DetectionModel.__init__",
        "ultralytics sets its own eps and momentum on every BN; the backbone's weights were trained with others",
        """\
        # Init weights, biases
        initialize_weights(self)
        if verbose:
            self.info()
            LOGGER.info("")

    @property
    def end2end(self):
""",
        """\
        # Init weights, biases
        initialize_weights(torch.nn.ModuleList(m for m in self.model if not hasattr(m, "width_list")))
        if verbose:
            self.info()
            LOGGER.info("")

    @property
    def end2end(self):
""",
    ),
)
STEPS: tuple[str, ...] = tuple(dict.fromkeys(edit.step for edit in EDITS))
