"""Classes of VIA's regions: which attribute holds the class, and which classes there are.

Regions carry free attributes, ``{"name": "Socrates", "type": "human", "quality": {"blurred": true}}``. A VIA 2 project
also defines the type of each attribute and, for dropdowns, radio buttons and check boxes, its options
``{id: displayed text}``; regions store the id. The class attribute is

1. the only attribute that the regions use,
2. else the one called class, name, label, category, type or object, ignoring case. Attributes with options come first,
   then this order decides; a warning names the choice if there are several.
3. If the description of the dataset gives ``classes``, only attributes with one of these values are considered.

Some people make each class an attribute of its own: ``{"head": "1", "helmet": ""}``. The names of the attributes are
the classes if the regions use several, if all values are "1", "yes", the attribute's own name or the like, or empty,
and if most regions have one class. If the description names attributes as ``classes``, other attributes do not count.

The classes are the displayed texts of the options in their order, else the values in use, sorted. Without any
attribute all regions have the same class: the only one in the description, or "object".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detect.data.readers.parsing import require
from detect.data.unvalidated_split import InvalidEntryError
from detect.errors import DataError, UsageError
from detect.progress import warn
from detect.structures.class_names import ClassNames
from detect.text import counted, unknown

_CLASS_ATTRIBUTES = ("class", "name", "label", "category", "type", "object")
_DEFAULT_CLASS = "object"
_ON, _OFF = ("1", "yes", "y", "true", "x", "on", "checked"), ("", "0", "no", "n", "false", "off", "unchecked")
_TYPES_WITH_OPTIONS = ("dropdown", "radio", "checkbox")

AttributeValues = list[str]
_Options = Mapping[str, Mapping[str, str]]  # {attribute: {option id: displayed text}}
_UsedValues = Mapping[str, set[str]]  # {attribute: values that regions have}


@dataclass(frozen=True)
class ClassAttribute:
    """The attribute that holds the class of each region.

    Attributes:
        class_names: ClassNames.
        key: name of the attribute; None if no attribute holds the class; every region then has the only class.
        displayed: {option id: class name} if the attribute has options.
        in_use: bool, whether the classes are only the values that the regions have.
        flags: {attribute: values that say that a region has this class} if each attribute is a class; ``key`` is None.
    """

    class_names: ClassNames
    key: str | None = None
    displayed: Mapping[str, str] = field(default_factory=dict)
    in_use: bool = False
    flags: Mapping[str, set[str]] = field(default_factory=dict)

    def label(self, attributes: Mapping[str, AttributeValues]) -> int | None:
        """Return the label of a region, or None for an option that is not among the classes.

        Raises InvalidEntryError for a region without a class, with several, or with an unknown one.
        """
        if self.flags:
            return self.class_names.label(
                _one_line(_only(_attributes_on(attributes, self.flags), "of the attributes"))
            )
        if self.key is None:
            return 1
        values = [_only(attributes.get(self.key, []), f"of '{self.key}'")]
        name = self.displayed.get(values[0], values[0])
        if name in self.class_names.names:
            return self.class_names.label(name)
        if values[0] in self.displayed:
            return None
        raise InvalidEntryError("unknown_class", unknown("class", name, self.class_names.names))


def attribute_values(attributes: Any, where: str) -> dict[str, AttributeValues]:
    """Return the values of each attribute of a region: one text, the checked boxes, or [] for an empty attribute."""
    return {str(key): _values(value, f"{where}: attribute '{key}'") for key, value in attributes.items()}


def attribute_options(project: Mapping[str, Any], annotations: Path) -> dict[str, dict[str, str]]:
    """Return {attribute: {option id: displayed text}} from ``_via_attributes``; {} for attributes without options."""
    where = f"{annotations}: _via_attributes"
    attributes = require(project, "_via_attributes", str(annotations), dict) if "_via_attributes" in project else {}
    regions = require(attributes, "region", where, dict) if "region" in attributes else {}
    return {name: _displayed(attribute, f"{where}: region: {name}") for name, attribute in regions.items()}


def find_class_attribute(
    regions: Sequence[Mapping[str, AttributeValues]],
    options: _Options,
    classes: Sequence[str] | None,
    annotations: Path,
) -> ClassAttribute:
    """Return the class attribute, chosen by the rules in the docstring of this module.

    regions: ``attribute_values`` of all regions.
    options: ``attribute_options`` of the file.
    classes: class names from the description of the dataset, in label order.
    Raises DataError if the attribute is ambiguous or missing, UsageError for a class that is not among the options.
    """
    used: dict[str, set[str]] = {}
    for region in regions:
        for name, values in region.items():
            if values:
                used.setdefault(name, set()).update(values)
    if flags := _flags(regions, used, options, classes):
        given = tuple(classes or sorted({*map(_one_line, flags)}))
        return ClassAttribute(ClassNames(given), in_use=not classes, flags=flags)
    if classes:
        return _with_given_classes(used, len(regions), options, classes, annotations)
    # Without regions the classes are those of the project's options. Regions that use no attribute have no class.
    key = _choose(list(used) if regions else [k for k in options if options[k]], options, annotations)
    if key is None:
        if not regions:
            raise DataError(f"{annotations} has no regions and defines no classes")
        warn(f"{annotations}: no region has a class; all {len(regions)} get the class '{_DEFAULT_CLASS}'")
        return ClassAttribute(ClassNames((_DEFAULT_CLASS,)))
    displayed = options.get(key, {})
    names = ClassNames(tuple(displayed.values()) or tuple(sorted(used[key])))
    return ClassAttribute(names, key, displayed, in_use=not displayed)


def _flags(
    regions: Sequence[Mapping[str, AttributeValues]],
    used: _UsedValues,
    options: _Options,
    classes: Sequence[str] | None,
) -> dict[str, set[str]]:
    """Return the attributes each of which is a class, with the values that say so; {} if another rule applies.

    classes: if given, only attributes with these names are considered.
    """
    names = [name for name in used if not classes or _one_line(name) in classes]
    if len(names) < 2 and not (names and classes and len(classes) > 1):
        return {}
    flags: dict[str, set[str]] = {}
    for name in names:
        words = {value: options.get(name, {}).get(value, value).lower() for value in used[name]}
        flags[name] = {value for value, word in words.items() if word in (*_ON, _one_line(name).lower())}
        if any(value not in flags[name] and word not in _OFF for value, word in words.items()):
            return {}
    num_with_one = sum(len(_attributes_on(region, flags)) == 1 for region in regions)
    return flags if num_with_one > len(regions) / 2 else {}


def _attributes_on(region: Mapping[str, AttributeValues], flags: Mapping[str, set[str]]) -> list[str]:
    """Return the attributes among ``flags`` whose values say that the region has this class."""
    return [name for name, values in flags.items() if not values.isdisjoint(region.get(name, ()))]


def _only(values: Sequence[str], where: str) -> str:
    """Return the only value. Raises InvalidEntryError for a region with none or several."""
    if not values:
        raise InvalidEntryError("no_class", f"no value {where}")
    if len(values) > 1:
        raise InvalidEntryError("no_class", f"{len(values)} values {where}: {', '.join(values)}")
    return values[0]


def _with_given_classes(
    used: _UsedValues, num_regions: int, options: _Options, classes: Sequence[str], annotations: Path
) -> ClassAttribute:
    class_names = ClassNames(tuple(classes))
    holding = [name for name in {**used, **options} if not _all_values(name, used, options).isdisjoint(classes)]
    if not holding and len(classes) == 1:
        if used:
            warn(f"{annotations}: all regions get the class {classes[0]}; ignored attributes: {', '.join(used)}")
        return ClassAttribute(class_names)
    key = _choose(holding or list(used), options, annotations, holding and classes)
    if key is None and num_regions:
        raise DataError(
            f"{annotations}: {counted(num_regions, 'region')} without a class, so 'classes' in the YAML file should "
            f"be exactly one, not {', '.join(classes)}"
        )
    if key is None:
        return ClassAttribute(class_names)
    return ClassAttribute(class_names, key, _displayed_of_given(key, used, options, classes, annotations))


def _choose(keys: list[str], options: _Options, annotations: Path, classes: Sequence[str] | None = None) -> str | None:
    """Return one of the attributes ``keys`` by rules 1 and 2 of this module; None if ``keys`` is empty.

    classes: classes of the description that each of ``keys`` has among its values.
    Raises DataError if neither rule applies.
    """
    if len(keys) < 2:
        return keys[0] if keys else None
    candidates = [key for key in keys if key.strip().lower() in _CLASS_ATTRIBUTES]
    if not candidates:
        rename = f"rename the attribute of the class to one of {', '.join(_CLASS_ATTRIBUTES)}"
        if classes:
            raise DataError(f"{annotations}: several attributes have the given classes: {', '.join(keys)}; {rename}")
        raise DataError(
            f"{annotations}: which of the attributes {', '.join(keys)} is the class? List the class names under "
            f"'classes' in a YAML file that describes the dataset, or {rename}"
        )
    candidates.sort(key=lambda key: (not options.get(key), _CLASS_ATTRIBUTES.index(key.strip().lower())))
    if len(candidates) > 1:
        warn(f"{annotations}: classes are read from '{candidates[0]}', not from {', '.join(candidates[1:])}")
    return candidates[0]


def _displayed_of_given(
    key: str, used: _UsedValues, options: _Options, classes: Sequence[str], annotations: Path
) -> Mapping[str, str]:
    """Return {option id: class name} for ``classes`` that name options by displayed text or by id."""
    displayed = options.get(key)
    if not displayed:
        return {}
    names = {i: text if text in classes or i in displayed.values() else i for i, text in displayed.items()}
    for name in classes:
        if name not in names.values() and name not in used.get(key, ()):
            raise UsageError(f"{annotations}: {unknown('class', name, displayed.values())}")
    return names


def _all_values(key: str, used: _UsedValues, options: _Options) -> set[str]:
    """Return all used values, option ids and displayed texts of an attribute."""
    displayed = options.get(key, {})
    return used.get(key, set()) | set(displayed) | set(displayed.values())


def _values(value: Any, where: str) -> AttributeValues:
    if value is None:
        return []
    if isinstance(value, dict):  # check boxes
        invalid = [checked for checked in value.values() if not isinstance(checked, bool)]
        if invalid:
            raise DataError(f"{where} has a check box with the value {str(invalid[0])[:60]!r}; expected true or false")
        return [_one_line(option) for option, checked in value.items() if checked]
    if not isinstance(value, str | int | float):
        raise DataError(f"{where} is {str(value)[:60]!r}; expected text or check boxes")
    return [text] if (text := _one_line(str(value))) else []


def _displayed(attribute: Any, where: str) -> dict[str, str]:
    """Return {option id: displayed text}; the ids themselves if the texts are not unique or are images."""
    if not isinstance(attribute, dict):
        raise DataError(f"{where} is {str(attribute)[:60]!r}; expected a dict")
    if "options" not in attribute or attribute.get("type") == "text":
        return {}
    raw = require(attribute, "options", where, dict)
    invalid = [text for text in raw.values() if not (text is None or isinstance(text, str))]
    if invalid:
        raise DataError(f"{where}: option {str(invalid[0])[:60]!r} should be text")
    ids = {_one_line(option): text for option, text in raw.items() if option.strip()}
    displayed = {option: _one_line(text or "") or option for option, text in ids.items()}
    if attribute.get("type") not in _TYPES_WITH_OPTIONS or len(set(displayed.values())) < len(displayed):
        return {option: option for option in displayed}
    return displayed


def _one_line(text: str) -> str:
    """Return text without line breaks and superfluous spaces, which VIA's text fields may hold."""
    return " ".join(text.split())
