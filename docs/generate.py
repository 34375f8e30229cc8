"""Writes what docs/ derives from the code: tables and diagrams of protocol.md, supervision.md and failure-modes.md,
and the test vectors.

python docs/generate.py           writes them
python docs/generate.py --check   exits with 1 if they are not up to date
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, Optional, Tuple, get_type_hints  # noqa: UP035 - as the messages spell their types

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests" / "wire"))

from messages_for_tests import EXAMPLES  # noqa: E402 - lies beside the tests that use it

from neuropod_ope import errors  # noqa: E402
from neuropod_ope.supervisor.states import MODEL, WORKER  # noqa: E402
from neuropod_worker.shm import control  # noqa: E402
from neuropod_worker.wire import conversation  # noqa: E402
from neuropod_worker.wire import messages as m  # noqa: E402
from neuropod_worker.wire.codec import HANDSHAKE, encode  # noqa: E402
from neuropod_worker.wire.repeated import REPEATED_INFER, REPEATED_RESULT  # noqa: E402

TO_DO = "What to do: "  # begins the last paragraph of an error's docstring
HEAD = m.Cancel._fields
WIRE_TYPES = {
    int: "uint",
    str: "str",
    bool: "bool",
    Optional[int]: "uint or nil",  # noqa: UP045
    Optional[Tuple[str, ...]]: "[str] or nil",  # noqa: UP006, UP045
    Optional[Tuple[m.Tensor, ...]]: "[tensor] or nil",  # noqa: UP006, UP045
}


def message_table() -> str:
    """Every message: its number, its fields after the head, and what it is for."""
    rows = ["| kind | message | fields | meaning |", "| --- | --- | --- | --- |"]
    for number, kind in m.KINDS.items():
        hints = get_type_hints(kind)
        own = [name for name in kind._fields if number >= HANDSHAKE or name not in HEAD]
        fields = ", ".join(f"{name}: {WIRE_TYPES[hints[name]]}" for name in own)
        shown = f"*head*, {fields}" if number < HANDSHAKE and fields else fields or "*head*"
        meaning = " ".join((kind.__doc__ or "").split())
        rows.append(f"| {number} | {kind.__name__} | {shown} | {meaning} |")
    return "\n".join(rows)


def state_diagram(table: dict[str, dict[Any, str]]) -> str:
    """One table of states as a mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(table))}"]
    for state, row in table.items():
        targets: dict[str, list[str]] = {}
        for event, after in row.items():
            targets.setdefault(after, []).append(event if isinstance(event, str) else event.__name__)
        lines += [f"    {state} --> {after}: {', '.join(events)}" for after, events in targets.items()]
        lines += [] if row else [f"    {state} --> [*]"]
    return "\n".join([*lines, "```"])


def layout_table() -> str:
    """The layout of the control segment, from the docstring of the module that owns it."""
    text = control.__doc__ or ""
    return "```text\n" + "\n".join(line for line in text.splitlines() if re.match(r"^(offset|\d+ )", line)) + "\n```"


def repeated_table() -> str:
    """The words of the messages that cross without msgpack."""
    kinds = {"Infer": REPEATED_INFER, "Result": REPEATED_RESULT}
    rows = [f"| {name} | {', '.join(kind.fields)} |" for name, kind in kinds.items()]
    return "\n".join(["| message | words |", "| --- | --- |", *rows])


def numbers() -> str:
    pairs = {
        "protocol version": m.PROTOCOL_VERSION,
        "layout version": control.LAYOUT_VERSION,
        "slots in each direction": control.SLOTS,
        "bytes of a slot": control.SLOT_SIZE,
        "bytes of the longest message in a slot": control.INLINE_LIMIT,
        "bytes of the control segment": control.CONTROL_SIZE,
        "step words": ", ".join(f"{number} {name}" for number, name in enumerate(control.STEPS)),
        "kinds of failure": ", ".join(m.FAILURES),
    }
    return "\n".join(
        ["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in pairs.items())]
    )


def error_table() -> str:
    """Every error: what it is about and what it carries, and what to do, from its docstring."""
    rows = ["| error | what happened | what to do | retryable |", "| --- | --- | --- | --- |"]
    for name in ("NeuropodError", *(name for name in errors.__all__ if name != "NeuropodError")):
        error = getattr(errors, name)
        *what, to_do = [" ".join(part.split()) for part in (error.__doc__ or "").split("\n\n")]
        if not to_do.startswith(TO_DO):
            sys.exit(f"the docstring of {name} does not end with {TO_DO!r}")
        builtin = next((base.__name__ for base in error.__bases__[1:]), "")
        shown = f"`{name}`" + (f" (a `{builtin}`)" if builtin else "")
        rows.append(f"| {shown} | {' '.join(what)} | {to_do[len(TO_DO) :]} | {'yes' if error.retryable else 'no'} |")
    return "\n".join(rows).replace("``", "`")


def vectors() -> str:
    """The bytes of an example of each message, for tests of other implementations."""
    examples = [
        {"message": type(example).__name__, "fields": example._asdict(), "hex": encode(example).hex()}
        for example in EXAMPLES
    ]
    return json.dumps(examples, indent=1, ensure_ascii=False) + "\n"


def generated() -> dict[Path, str]:
    """The files and what they should contain."""
    sections = {
        "messages": message_table(),
        "repeated": repeated_table(),
        "layout": layout_table(),
        "numbers": numbers(),
        "worker": state_diagram(WORKER),
        **{name: state_diagram(table) for name, table in conversation.TABLES},
    }
    return {
        DOCS / "protocol.md": filled(DOCS / "protocol.md", sections),
        DOCS / "supervision.md": filled(DOCS / "supervision.md", {"model states": state_diagram(MODEL)}),
        DOCS / "failure-modes.md": filled(DOCS / "failure-modes.md", {"errors": error_table()}),
        DOCS / "protocol-vectors.json": vectors(),
    }


def filled(path: Path, sections: dict[str, str]) -> str:
    """The text of a document with its generated sections as they should be."""
    text = path.read_text(encoding="utf-8")
    for name, content in sections.items():
        start, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
        if not pattern.search(text):
            sys.exit(f"{path} has no place for {name}: {start} ... {end}")
        text = pattern.sub(lambda _, c=content, s=start, e=end: f"{s}\n{c}\n{e}", text)
    return text


def main() -> int:
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        print("\n".join(f"{path.name} is not up to date: make docs" for path in stale))
        return 1 if stale else 0
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
