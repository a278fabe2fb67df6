"""The iOS sample as text: its Swift sources by a grammar, and its Xcode project by a reader of such files."""

import re
from collections.abc import Iterator
from typing import Any

import tree_sitter
import tree_sitter_swift

from edgevit_deploy.apps.samples import SAMPLES

SAMPLE = SAMPLES / "ios"

Project = dict[str, dict[str, Any]]
"""The objects of an Xcode project, by their identifiers."""

PHASES = {"PBXSourcesBuildPhase", "PBXFrameworksBuildPhase", "PBXResourcesBuildPhase"}

_WORDS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\])*"|[{}()=;,]|[^\s{}()=;,"]+', re.DOTALL)


def faults_of(source: str) -> list[str]:
    """Return where a Swift source does not keep to the grammar, a line for each place."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
    return [f"line {node.start_point[0] + 1}: {node.type}" for node in _faulty(parser.parse(source.encode()).root_node)]


def _faulty(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    if node.is_error or node.is_missing:
        yield node
    for child in node.children:
        yield from _faulty(child)


def read_project(text: str) -> tuple[str, Project]:
    """Return the identifier of the root, and all objects, of a `project.pbxproj`; `ValueError` where it is none."""
    words = [word for word in _WORDS.findall(text) if not word.startswith(("/*", "//"))]
    document, rest = _value(words)
    if rest or not isinstance(document, dict):
        raise ValueError("something follows the project, or it is no dictionary")
    return document["rootObject"], document["objects"]


def _value(words: list[str]) -> tuple[Any, list[str]]:
    match words:
        case ["{", *rest]:
            made: dict[str, Any] = {}
            while rest[0] != "}":
                name, equals, *rest = rest
                made[name], rest = _value(rest)
                if equals != "=" or rest.pop(0) != ";":
                    raise ValueError(f"{name} has no value, or the value no end")
            return made, rest[1:]
        case ["(", *rest]:
            values = []
            while rest[0] != ")":
                value, rest = _value(rest)
                values.append(value)
                if rest.pop(0) != ",":
                    raise ValueError(f"no comma after {value}")
            return values, rest[1:]
        case [word, *rest] if word not in "})=;,":
            return word.strip('"'), rest
    raise ValueError("a value is missing")


def faults_of_project(text: str, *, folders: set[str], products: set[str]) -> list[str]:
    """Return what is wrong with an Xcode project: what it refers to and has not, or has and does not refer to.

    Args:
        text: of `project.pbxproj`.
        folders: beside the project, that it may name.
        products: of the package beside the project.
    """
    root, objects = read_project(text)
    used = [root, *(name for value in objects.values() for name in _identifiers(value))]
    faults = [f"{name} is not defined" for name in used if name not in objects]
    if faults:
        return faults
    faults += [f"{name} is not used" for name in objects if name not in used]
    places = [value["path"] for value in objects.values() if value.get("sourceTree") == "<group>" and "path" in value]
    faults += [f"there is no {path}" for path in places if path not in folders]
    asked = [value["productName"] for value in objects.values() if value["isa"] == "XCSwiftPackageProductDependency"]
    faults += [f"the package has no {name}" for name in asked if name not in products]
    for target in objects.values():
        if target["isa"] == "PBXNativeTarget":
            faults += _faults_of_target(target, objects)
    for configurations in objects.values():
        if configurations["isa"] == "XCConfigurationList":
            names = [objects[name]["name"] for name in configurations["buildConfigurations"]]
            faults += [] if sorted(names) == ["Debug", "Release"] else [f"configurations {names}"]
    return faults


def _faults_of_target(target: dict[str, Any], objects: Project) -> Iterator[str]:
    phases = [objects[name] for name in target["buildPhases"]]
    if {phase["isa"] for phase in phases} != PHASES or len(phases) != len(PHASES):
        yield f"{target['name']} has not the three phases"
    built = [name for phase in phases for name in phase["files"]]
    files = [name for name, value in objects.items() if value["isa"] == "PBXBuildFile"]
    if sorted(built) != sorted(files):
        yield f"{target['name']} does not build each file once"
    linked = {objects[name].get("productRef") for phase in phases if "Frameworks" in phase["isa"] for name in phase["files"]}
    if linked != set(target["packageProductDependencies"]):
        yield f"{target['name']} does not link what it depends on"


def _identifiers(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from re.findall(r"^[0-9A-F]{24}$", value)
    else:
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _identifiers(inner)
