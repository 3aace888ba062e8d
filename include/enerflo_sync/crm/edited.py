"""An option of a YAML file replaced in the file's text: comments and all other lines stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml

from enerflo_sync.crm.source import ACCOUNT, Place


class NotReplacedError(Exception):
    """The option cannot be replaced alone.

    An anchor or a merge (``<<``) of YAML shares it, it contains a variable, or it is not there.
    """


def replaced(text: str, place: Place, value: str) -> str:
    """Return the text of a YAML file with the value of one option replaced.

    :param place: the option's path, whose parts are keys of maps.
    :param value: the new value as YAML on one line.
    :return: comments between the lines of the old value stand behind the new one.
    :raises NotReplacedError: the file has no such option, it contains a variable, or another option would
        change with it.
    """
    root = _composed(text)
    node = _found(root, place)
    # ``compose`` gives a block map the end of the blanks and comments after it.
    begin, end = node.start_mark.index, _end(node)
    if "${" in text[begin:end] or ACCOUNT in text[begin:end]:
        # The new value has what the variable stands for now.
        raise NotReplacedError
    kept = "".join(f"   {comment}" for comment in _comments(text, begin, end))
    new = text[:begin] + value + kept + text[end:]
    try:
        after = _content(_composed(new))
    except yaml.YAMLError as error:
        raise NotReplacedError from error
    if after != _with(_content(root), place, _content(_composed(value))):
        raise NotReplacedError
    return new


def _composed(text: str) -> yaml.Node:
    # The C parser counts the places of some characters otherwise.
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        raise NotReplacedError
    return node


def _found(node: yaml.Node, place: Place) -> yaml.Node:
    for name in place:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        found = [value for key, value in pairs if key.value == name]
        if len(found) != 1:
            raise NotReplacedError
        (node,) = found
    return node


def _end(node: yaml.Node) -> int:
    is_block = isinstance(node, yaml.CollectionNode) and not node.flow_style
    if not is_block or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _comments(text: str, begin: int, end: int) -> Iterator[str]:
    """Yield the comments between the places of a text: what lies between two tokens is blank otherwise."""
    tokens = yaml.scan(text, Loader=yaml.SafeLoader)
    for one, other in pairwise(tokens):
        gap = text[max(begin, one.end_mark.index) : min(end, other.start_mark.index)]
        for line in gap.splitlines():
            if "#" in line:
                yield line.strip()


def _content(node: yaml.Node) -> Any:
    """Return what a node says, to be compared; aliases say what their anchors say."""
    if isinstance(node, yaml.MappingNode):
        return {(str(key.value), key.tag): _content(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_content(one) for one in node.value]
    return node.tag, node.value


def _with(content: Any, place: Sequence[str], value: Any) -> Any:
    if not place:
        return value
    assert isinstance(content, Mapping)  # noqa: S101 - the place was found
    return {
        key: _with(inner, place[1:], value) if key[0] == place[0] else inner for key, inner in content.items()
    }
