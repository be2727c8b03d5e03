"""The content of a pickle, read without running code of it.

A pickle is a program for a stack machine (https://docs.python.org/3/library/pickletools.html), and Python's own
machine imports and calls whatever the pickle names. The machine here resolves no name. What a pickle constructs is a
plain dict, list or tuple, a ``StoredTensor``, or an ``Opaque`` value that only knows the name of its class.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any

from detect.models.weight_files.pickle_values import Name, Opaque, PickleError
from detect.models.weight_files.stored_tensors import DTYPE_NAMES, Storage, StoredTensor

# A byte of a pickle can create an object of 64 bytes, so a file could fill the memory with empty lists.
MAX_INSTRUCTIONS = 10_000_000
_DAMAGE = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError)


def no_persistent_ids(value: Any) -> Any:
    """Raise PickleError: the ``persistent_load`` of a pickle that refers to no other part of its file."""
    raise PickleError("a reference to another part of the file, where none is expected")


def read_pickle(file: IO[bytes], persistent_load: Callable[[Any], Any] = no_persistent_ids) -> Any:
    """Return the value of one pickle; ``file`` is then at its end, where another pickle may follow.

    persistent_load: returns the value of a persistent id, as in ``pickle.Unpickler``.

    Raises PickleError for a damaged pickle, and for one with more than MAX_INSTRUCTIONS.
    """
    try:
        return _Machine(persistent_load).run(file)
    except PickleError:
        raise
    except (*_DAMAGE, DeprecationWarning) as error:  # pickletools warns of escapes in text that Python does not know
        raise PickleError(f"{type(error).__name__} in its pickle: {str(error)[:100]}") from None


class _Machine:
    """The stack machine of a pickle. ``stack`` holds the values since the last mark, ``outer`` those before it."""

    def __init__(self, persistent_load: Callable[[Any], Any]):
        self.persistent_load = persistent_load
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.copied = 0

    def run(self, file: IO[bytes]) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_INSTRUCTIONS:
                raise PickleError(f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions")
            name = opcode.name
            if name in _ARGUMENTS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _ACTIONS:
                _ACTIONS[name](self, argument)
            elif name not in _IGNORED:
                raise PickleError(f"its pickle has the instruction {name}, which is not supported")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.outer.pop()
        return values

    # Instructions; ``argument`` is the operand in the file, None for most of them.

    def mark(self, argument: None) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def pop(self, argument: None) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.outer.pop()

    def put(self, argument: int | None) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def collect(self, argument: None) -> None:
        values = self.pop_mark()
        self.stack.append(tuple(values))

    def collect_list(self, argument: None) -> None:
        values = self.pop_mark()
        self.stack.append(values)

    def collect_dict(self, argument: None) -> None:
        values = self.pop_mark()
        self.stack.append({})
        self.set_items(values)

    def collect_last(self, count: int) -> None:
        values = [self.stack.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def set_items(self, values: list[Any]) -> None:
        """Add keys and values, which alternate. Keys that are not plain are left out: hashing may never end."""
        target = self.stack[-1]
        if isinstance(target, Opaque):
            if target.entries is None:
                target.entries = {}
            target = target.entries
        if not isinstance(target, dict):
            return
        for index in range(0, len(values) - 1, 2):
            if isinstance(values[index], str | int | float | bytes | None):
                target[values[index]] = values[index + 1]

    def set_item(self, argument: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)

    def global_name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(_named(module, name))

    def stack_global(self, argument: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a class in its pickle has a name that is not text")
        self.stack.append(_named(module, name))

    def persistent_id(self, argument: str | None) -> None:
        self.stack.append(self.persistent_load(self.stack.pop() if argument is None else argument))

    def build(self, argument: None) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].state = state

    def reduce(self, argument: None) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.construct(function, arguments))

    def new_object_with_keywords(self, argument: None) -> None:
        self.stack.pop()
        self.reduce(None)

    def new_instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(self.construct(_named(module, name), tuple(self.pop_mark())))

    def new_object_of_mark(self, argument: None) -> None:
        function, *arguments = self.pop_mark()
        self.stack.append(self.construct(function, tuple(arguments)))

    def construct(self, function: Any, arguments: Any) -> Any:
        """Return the value of a call in the pickle, without calling anything that the pickle names."""
        if isinstance(function, Opaque):  # such as a method, which a pickle gets with builtins.getattr
            return Opaque(function.name)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise PickleError("its pickle calls something that is not a class or function")
        name = function.name
        if name in _DICTS:
            return self.new_dict(arguments)
        if name in _TENSORS:
            return _tensor(name, arguments)
        if name in _WRAPPERS and arguments and isinstance(arguments[0], StoredTensor):
            return arguments[0]
        if name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:  # a subclass of Tensor
            return self.construct(arguments[0], arguments[2])
        if name in _CONSTRUCTORS and arguments and isinstance(arguments[0], Name):
            return Opaque(arguments[0].name)
        if name in _SEQUENCES and arguments and isinstance(arguments[0], list | tuple):
            return arguments[0]
        return Opaque(name)

    def new_dict(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        """Return the dict of ``OrderedDict(pairs)``, ``defaultdict(factory)`` or ``Counter(dict)``."""
        content = arguments[-1] if arguments else ()
        if isinstance(content, dict):
            return content
        pairs = content if isinstance(content, list | tuple) else ()
        self.copied += len(pairs)
        if self.copied > MAX_INSTRUCTIONS:  # a list that is copied over and over fills the memory
            raise PickleError(f"its pickle copies more than {MAX_INSTRUCTIONS:,} items")
        self.stack.append({})
        for key, value in pairs:
            self.set_items([key, value])
        result: dict[Any, Any] = self.stack.pop()
        return result


def _named(module: str, name: str) -> Name:
    module = {"__builtin__": "builtins", "torch.cuda": "torch"}.get(module, module)  # Python 2; tensors of a GPU
    return Name(f"{module}.{name}")


def _tensor(function: str, arguments: tuple[Any, ...]) -> StoredTensor | Opaque:
    """Return the tensor of a call of ``function``; Opaque if its storage or type is not supported."""
    if len(arguments) < 4:
        raise PickleError("a tensor in its pickle has no shape")
    storage, offset, shape, strides = arguments[:4]
    dtype = metadata = None
    if function.endswith("_v3"):  # the storage has no type
        dtype = DTYPE_NAMES.get(arguments[6].name) if len(arguments) > 6 and isinstance(arguments[6], Name) else None
        metadata = arguments[7] if len(arguments) > 7 else None
        if dtype is None:
            return Opaque(function)
    elif function.endswith("_v2"):
        metadata = arguments[6] if len(arguments) > 6 else None
    if metadata or isinstance(storage, Opaque):  # a view with conjugated or negated values
        return Opaque(function)
    if not isinstance(storage, Storage):
        raise PickleError("a tensor in its pickle has no storage")
    try:
        return StoredTensor.checked(storage, offset, shape, strides, dtype)
    except ValueError as error:
        raise PickleError(str(error)) from None


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_ARGUMENTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_IGNORED = {"PROTO", "FRAME", "STOP"}
_ACTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda m, _: m.pop_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_SET": lambda m, _: m.stack.append(Opaque("builtins.set")),
    "LIST": _Machine.collect_list,
    "TUPLE": _Machine.collect,
    "DICT": _Machine.collect_dict,
    "TUPLE1": lambda m, _: m.collect_last(1),
    "TUPLE2": lambda m, _: m.collect_last(2),
    "TUPLE3": lambda m, _: m.collect_last(3),
    "FROZENSET": lambda m, _: m.stack.append(Opaque("builtins.frozenset", m.pop_mark())),
    "APPEND": lambda m, _: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m.extend(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.pop_mark(),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": lambda m, key: m.stack.append(m.memo[key]),
    "BINGET": lambda m, key: m.stack.append(m.memo[key]),
    "LONG_BINGET": lambda m, key: m.stack.append(m.memo[key]),
    "GLOBAL": _Machine.global_name,
    "STACK_GLOBAL": _Machine.stack_global,
    "EXT1": lambda m, code: m.stack.append(Name(f"extension {code}")),
    "EXT2": lambda m, code: m.stack.append(Name(f"extension {code}")),
    "EXT4": lambda m, code: m.stack.append(Name(f"extension {code}")),
    "PERSID": _Machine.persistent_id,
    "BINPERSID": _Machine.persistent_id,
    "BUILD": _Machine.build,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "INST": _Machine.new_instance,
    "OBJ": _Machine.new_object_of_mark,
}
_DICTS = {"builtins.dict", "collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
_SEQUENCES = {"builtins.list", "builtins.tuple", "torch.Size"}
_TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
# Functions whose first argument is the class of the object that they return.
_CONSTRUCTORS = {f"{module}.{name}" for module in ("copyreg", "copy_reg") for name in ("_reconstructor", "__newobj__")}
# Functions and classes whose first argument is the tensor itself.
_WRAPPERS = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
    "torch.autograd.variable.Variable",
}
