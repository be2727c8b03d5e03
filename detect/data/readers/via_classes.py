"""Which attribute of VIA's regions names their class, and which classes there are.

Regions carry free attributes, ``{"name": "Socrates", "type": "human", "quality": {"blurred": true}}``. A VIA 2
project also defines them: of which type each is and, for a dropdown, radio buttons and check boxes, its options
``{id: what is displayed}``; regions hold the id. The attribute of the classes is

1. the only one that regions use,
2. else the one called class, name, label, category, type or object (capitals do not count): one with options
   before one without, then in this order; a warning says which was taken of several,
3. and where the description of the dataset gives ``classes``, of those that hold one of them, by 1 and 2.

The classes are the options in their order, by what is displayed, else the values in use, sorted. Without any
attribute all regions are of one class, "object" where the description does not name it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detect.data.readers.parsing import need
from detect.data.unvalidated_split import InvalidEntryError
from detect.errors import DataError, UsageError
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import unknown

_CALLED = ("class", "name", "label", "category", "type", "object")
_UNNAMED = "object"  # the class of regions without any
_WITH_OPTIONS = ("dropdown", "radio", "checkbox")
Values = list[str]


@dataclass(frozen=True)
class ClassAttribute:
    """The attribute ``key`` that names the class of each region; without a key, all are of the only class.

    shown: {option id: class name} where the attribute has options.
    in_use: whether the classes are no more than those in use.
    """

    class_names: ClassNames
    key: str | None = None
    shown: Mapping[str, str] = field(default_factory=dict)
    in_use: bool = False

    def label(self, values: Mapping[str, Values]) -> int | None:
        """The label of a region with these ``values``, or None for an option that is not among the classes.

        Raises Unusable for a region without a class, with several, or of an unknown one.
        """
        if self.key is None:
            return 1
        found = values.get(self.key, [])
        if len(found) != 1:
            raise InvalidEntryError(
                "unknown_class",
                f"its '{self.key}' names {len(found)} classes{': ' if found else ''}{', '.join(found)}",
            )
        name = self.shown.get(found[0], found[0])
        if name in self.class_names.names:
            return self.class_names.label(name)
        if found[0] in self.shown:
            return None
        raise InvalidEntryError("unknown_class", unknown("class", name, self.class_names.names))


def region_values(attributes: Any, where: str) -> dict[str, Values]:
    """The values of each attribute of a region: one text, the boxes that are checked, or none where it is empty."""
    return {str(key): _values(value, f"{where}: attribute '{key}'") for key, value in attributes.items()}


def defined_options(project: Mapping[str, Any], annotations: Path) -> dict[str, dict[str, str]]:
    """{attribute: {option id: what is displayed}} of a project's ``_via_attributes``, {} where it has no options."""
    where = f"{annotations}: _via_attributes"
    attributes = need(project, "_via_attributes", str(annotations), dict) if "_via_attributes" in project else {}
    regions = need(attributes, "region", where, dict) if "region" in attributes else {}
    return {name: _shown(attribute, f"{where}: region: {name}") for name, attribute in regions.items()}


def find(
    regions: Sequence[Mapping[str, Values]],
    options: Mapping[str, Mapping[str, str]],
    classes: Sequence[str] | None,
    annotations: Path,
) -> ClassAttribute:
    """The attribute of the classes, by the rules above, of the ``region_values`` of all regions.

    ``classes`` chooses among them and gives their order, and a single one may be every region's. Raises DataError
    where there is no such attribute or it cannot be told, UsageError for a class that is not among the options.
    """
    used: dict[str, set[str]] = {}
    key: str | None
    for region in regions:
        for name, values in region.items():
            if values:
                used.setdefault(name, set()).update(values)
    if not classes:
        # Images without a region still have the classes of their project; regions without a class have none.
        key = _choose(list(used) if regions else [k for k in options if options[k]], options, annotations)
        if key is None:
            if not regions:
                raise DataError(f"{annotations}: it has no regions and names no class")
            warn(f"{annotations}: its {len(regions)} regions name no class; each is taken for '{_UNNAMED}'")
            return ClassAttribute(ClassNames((_UNNAMED,)))
        shown = options.get(key, {})
        names = ClassNames(tuple(shown.values()) or tuple(sorted(used[key])))
        return ClassAttribute(names, key, shown, in_use=not shown)

    class_names = ClassNames(tuple(classes))
    holding = [name for name in {**used, **options} if not _known(name, used, options).isdisjoint(classes)]
    if not holding and len(classes) == 1:
        if used:
            warn(f"{annotations}: every region is taken for {classes[0]}, whatever its {', '.join(used)} says")
        return ClassAttribute(class_names)
    key = _choose(holding or list(used), options, annotations)
    if key is None and regions:
        raise DataError(
            f"{annotations}: its {len(regions)} regions name no class, so 'classes' in the YAML file should be "
            f"exactly one, not {', '.join(classes)}"
        )
    if key is None:
        return ClassAttribute(class_names)
    return ClassAttribute(class_names, key, _chosen(key, used, options, classes, annotations))


def _choose(keys: list[str], options: Mapping[str, Mapping[str, str]], annotations: Path) -> str | None:
    """One of ``keys`` by the rules above, None where there is none."""
    if len(keys) < 2:
        return keys[0] if keys else None
    called = [key for key in keys if key.strip().lower() in _CALLED]
    if not called:
        raise DataError(
            f"{annotations}: which of the attributes {', '.join(keys)} is the class? Name the classes under 'classes'"
            f" in the YAML file, or call the attribute one of {', '.join(_CALLED)}"
        )
    called.sort(key=lambda key: (not options.get(key), _CALLED.index(key.strip().lower())))
    if len(called) > 1:
        warn(f"{annotations}: the classes are read from '{called[0]}', not from {', '.join(called[1:])}")
    return called[0]


def _chosen(
    key: str,
    used: Mapping[str, set[str]],
    options: Mapping[str, Mapping[str, str]],
    classes: Sequence[str],
    annotations: Path,
) -> Mapping[str, str]:
    """{option id: class name} when the description names the classes, by what is displayed or by ids."""
    shown = options.get(key)
    if not shown:
        return {}
    table = {i: text if text in classes or i in shown.values() else i for i, text in shown.items()}
    for name in classes:
        if name not in table.values() and name not in used.get(key, ()):
            raise UsageError(f"{annotations}: {unknown('class', name, shown.values())}")
    return table


def _known(key: str, used: Mapping[str, set[str]], options: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Every word that an attribute can name a class by."""
    shown = options.get(key, {})
    return used.get(key, set()) | set(shown) | set(shown.values())


def _values(value: Any, where: str) -> Values:
    if value is None:
        return []
    if isinstance(value, dict):  # check boxes
        odd = [checked for checked in value.values() if not isinstance(checked, bool)]
        if odd:
            raise DataError(f"{where} has a box checked {str(odd[0])[:60]!r}, it should be true or false")
        return [_one_line(option) for option, checked in value.items() if checked]
    if not isinstance(value, str | int | float):
        raise DataError(f"{where} is {str(value)[:60]!r}, it should be text or check boxes")
    return [text] if (text := _one_line(str(value))) else []


def _shown(attribute: Any, where: str) -> dict[str, str]:
    """{id: what is displayed}; the ids themselves where that is not distinct, or where images are displayed."""
    if not isinstance(attribute, dict):
        raise DataError(f"{where} is {str(attribute)[:60]!r}, it should be a dict")
    if "options" not in attribute or attribute.get("type") == "text":
        return {}
    raw = need(attribute, "options", where, dict)
    odd = [text for text in raw.values() if not (text is None or isinstance(text, str))]
    if odd:
        raise DataError(f"{where}: option {str(odd[0])[:60]!r} should be text")
    ids = {_one_line(option): text for option, text in raw.items() if option.strip()}
    shown = {option: _one_line(text or "") or option for option, text in ids.items()}
    if attribute.get("type") not in _WITH_OPTIONS or len(set(shown.values())) < len(shown):
        return {option: option for option in shown}
    return shown


def _one_line(text: str) -> str:
    """Without the spaces and line ends that slip into a text field."""
    return " ".join(text.split())
