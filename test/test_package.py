# SPDX-License-Identifier: Apache-2.0
"""The lists that a package needs twice agree, and what is installed is complete."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ccl_lgs_ros.executable import start
from ccl_lgs_ros.resources import resource

ROOT = Path(__file__).resolve().parent.parent
INTERFACES = sorted([*ROOT.glob("msg/*.msg"), *ROOT.glob("srv/*.srv"), *ROOT.glob("action/*.action")])
SPDX = "SPDX-License-Identifier: Apache-2.0"
SPDX_WITHIN_LINES = 3  # a shebang or an XML declaration may come first
# Import name to distribution, where they differ; what the code imports on request only is in an extra.
DISTRIBUTIONS = {"PIL": "pillow", "cv2": "opencv-python-headless", "skimage": "scikit-image", "yaml": "pyyaml"}
EXTRA_DISTRIBUTIONS = {"hydra": "hydra-core", "open_clip": "open-clip-torch", "segment_anything": "segment-anything"}
OPTIONAL = {"cv_bridge"}  # used where it is installed
FROM_ROS = re.compile(r"rclpy|rosidl|launch|ament|tf2|cv_bridge|vision_msgs|gsplat_msgs|.*_(msgs|srvs|interfaces)$")


def calls_in_setup() -> dict[str, ast.expr]:
    """The keyword arguments of setup() and the assignments of setup.py, unevaluated."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    found = {
        t.id: n.value for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)
    }
    call = next(n.value for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call))
    return found | {k.arg: k.value for k in call.keywords if k.arg}


def commands() -> dict[str, str]:
    """Executable name to the module in the package that it runs."""
    return ast.literal_eval(calls_in_setup()["COMMANDS"])


def cmake_list(name: str) -> list[str]:
    found = re.search(rf"set\({name} ([^)]*)\)", (ROOT / "CMakeLists.txt").read_text())
    assert found, f"CMakeLists.txt sets no {name}"
    return found[1].split()


def requirement_names(text: str) -> set[str]:
    lines = (line.strip() for line in text.splitlines())
    return {re.split(r"[=<>;\[ ]", line)[0].lower().replace("_", "-") for line in lines if line and line[0] != "#"}


def tracked_files() -> list[Path]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:  # an unpacked archive
        return [p for name in ("ccl_lgs_ros", "test", "scripts", "benchmarks") for p in (ROOT / name).rglob("*.py")]
    return [ROOT / line for line in found.stdout.splitlines() if (ROOT / line).is_file()]


def test_pip_and_colcon_install_the_same_executables() -> None:
    assert sorted(commands()) == sorted(cmake_list("executables")) == sorted(executable_scripts())


def executable_scripts() -> list[str]:
    return [p.name for p in (ROOT / "scripts").iterdir() if p.is_file() and not p.suffix]


@pytest.mark.parametrize("name", commands())
def test_an_executable_starts_the_module_that_pip_starts(name: str) -> None:
    path = ROOT / "scripts" / name
    text = path.read_text()
    assert path.stat().st_mode & 0o111, f"{path} is not executable"
    assert text.startswith("#!/usr/bin/env python3\n")
    assert f'start("ccl_lgs_ros.{commands()[name]}")' in text
    source = ROOT / "ccl_lgs_ros" / f"{commands()[name].replace('.', '/')}.py"
    assert "main" in {n.name for n in ast.parse(source.read_text()).body if isinstance(n, ast.FunctionDef)}


def test_every_shared_folder_has_files_that_an_installed_node_finds() -> None:
    for folder in cmake_list("shared_folders"):
        assert any(p.is_file() for p in resource(folder).iterdir()), f"{folder} is installed but empty"


def test_a_file_that_is_not_there_is_named_with_the_places_searched() -> None:
    with pytest.raises(FileNotFoundError, match=r"config/none\.yaml is not installed .* searched .*share/ccl_lgs_ros"):
        resource("config/none.yaml")


def test_files_are_found_below_an_install_prefix(tmp_path: Path) -> None:
    code = tmp_path / "lib" / "python3.99" / "site-packages" / "ccl_lgs_ros"
    shared = tmp_path / "share" / "ccl_lgs_ros" / "config"
    for folder in (code, shared):
        folder.mkdir(parents=True)
    (shared / "default.yaml").touch()
    (code / "__init__.py").touch()
    (code / "resources.py").write_text((ROOT / "ccl_lgs_ros" / "resources.py").read_text())
    program = "from ccl_lgs_ros.resources import resource; print(resource('config/default.yaml'))"
    environment = {"PYTHONPATH": str(code.parent), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-S", "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    assert found.stdout.strip() == str(shared / "default.yaml")


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "needs_much.py").write_text("import no_such_package_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    advice = start("needs_much")
    assert isinstance(advice, str)
    assert "no_such_package_at_all" in advice and "pip install -r requirements.txt" in advice
    assert "\n" not in advice


def test_an_executable_without_its_package_says_so_in_one_line() -> None:
    command = [sys.executable, "-S", "-I", ROOT / "scripts" / "keyframe_node"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "source the setup file" in done.stderr


def test_a_program_ends_with_what_its_main_returns(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "finds_nothing.py").write_text("def main():\n    return 1\n")
    (tmp_path / "says_nothing.py").write_text("def main():\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert (start("finds_nothing"), start("says_nothing")) == (1, 0)


def test_package_xml_states_what_ros_needs() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert (package.tag, package.get("format")) == ("package", "3")
    assert package.findtext("name") == "ccl_lgs_ros"
    assert package.findtext("version") == ast.literal_eval(calls_in_setup()["version"])
    assert package.findtext("license") == "Apache-2.0"
    assert package.findtext("export/build_type") == "ament_cmake"
    assert package.findtext("member_of_group") == "rosidl_interface_packages"
    depends = [d.text for d in package if d.tag.endswith("depend")]
    assert len(depends) == len(set(depends)), "a dependency is listed twice"


def test_package_xml_names_every_ros_package_that_is_imported() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    depends = {d.text for d in package if d.tag.endswith("depend")}
    trees = [ast.parse(p.read_text()) for p in [*(ROOT / "ccl_lgs_ros").rglob("*.py"), *(ROOT / "launch").glob("*.py")]]
    modules = {n.module for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    modules |= {a.name for tree in trees for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    from_ros = {name for name in (module.partition(".")[0] for module in modules) if FROM_ROS.match(name)}
    assert from_ros - {"ccl_lgs_ros", *OPTIONAL} <= depends


def test_cmake_finds_what_package_xml_depends_on_and_generates_every_interface() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    generated = text.split("rosidl_generate_interfaces(")[1].split(")")[0]
    assert sorted(re.findall(r"(?:msg|srv|action)/\S+", generated)) == sorted(
        str(p.relative_to(ROOT)) for p in INTERFACES
    )
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    needed = {d.text for d in package if d.tag in ("depend", "buildtool_depend")}
    assert needed == set(re.findall(r"find_package\((\w+) REQUIRED\)", text))


@pytest.mark.parametrize("path", INTERFACES, ids=lambda p: p.name)
def test_every_field_of_an_interface_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[1].startswith("# "), "the second line says what the interface is for"
    for line in lines:
        is_field = line and line[0] != "#" and line != "---" and not re.fullmatch(r"uint\d+ [A-Z_]+=\d+", line)
        assert not is_field or re.search(r" # \S", line), f"{path.name}: no comment on: {line}"


@pytest.mark.ros
@pytest.mark.parametrize("path", INTERFACES, ids=lambda p: p.name)
def test_the_generated_interface_has_the_fields_of_its_file(path: Path) -> None:
    from importlib import import_module

    made = getattr(import_module(f"ccl_lgs_ros.{path.parent.name}"), path.stem)
    ends = {"msg": [""], "srv": ["Request", "Response"], "action": ["Goal", "Result", "Feedback"]}[path.parent.name]
    for end, text in zip(ends, path.read_text().split("---\n"), strict=True):
        lines = [line.split("#")[0].split() for line in text.splitlines()]
        fields = [words[1] for words in lines if len(words) > 1 and "=" not in words[1]]
        assert list((getattr(made, end) if end else made).get_fields_and_field_types()) == fields


def test_every_source_states_its_licence() -> None:
    kinds = {".py", ".sh", ".msg", ".srv", ".action", ".yaml", ".xml", ".toml", ".rviz", ".cmake"}
    named = {"Makefile", "CMakeLists.txt", "run", "constraints.txt", *commands()}
    sources = [p for p in tracked_files() if p.suffix in kinds or p.name in named]
    silent = [str(p.relative_to(ROOT)) for p in sources if not has_licence(p)]
    assert len(sources) > 20 and not silent, f"no SPDX line in {silent}"


def has_licence(path: Path) -> bool:
    return any(SPDX in line for line in path.read_text().splitlines()[:SPDX_WITHIN_LINES])


def test_every_import_is_required_and_pinned_and_nothing_else_is_required() -> None:
    required = requirement_names((ROOT / "requirements.txt").read_text())
    pinned = requirement_names((ROOT / "constraints.txt").read_text())
    assert required <= pinned, f"constraints.txt does not pin {required - pinned}"
    imports = third_party_imports()
    unused = required - {DISTRIBUTIONS.get(m, m.replace("_", "-")) for m in imports}
    assert not unused, f"requirements.txt names {unused}, which nothing imports"
    for module, path in sorted(imports.items()):
        if module in EXTRA_DISTRIBUTIONS or FROM_ROS.match(module):
            continue
        distribution = DISTRIBUTIONS.get(module, module.replace("_", "-"))
        assert distribution in required | packages_of_extras(), f"{path} imports {module}, which nothing installs"


def packages_of_extras() -> set[str]:
    extras = dict(zip_dict(calls_in_setup()["extras_require"]))
    return {name.replace("_", "-") for extra in ("models", "viewer") for name in ast.literal_eval(extras[extra])}


def zip_dict(node: ast.expr):
    assert isinstance(node, ast.Dict)
    return ((ast.literal_eval(key), value) for key, value in zip(node.keys, node.values, strict=True) if key)


def third_party_imports() -> dict[str, Path]:
    """Top-level names that the package imports from outside, each with a file that does."""
    found = {}
    for path in (ROOT / "ccl_lgs_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found |= {name.partition(".")[0]: path.relative_to(ROOT) for name in names}
    own = {"ccl_lgs_ros", "__future__", *sys.stdlib_module_names}
    return {name: path for name, path in found.items() if name not in own}


def test_constraints_hold_on_every_python_that_is_supported() -> None:
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and line[0] != "#":
            requirement, _, marker = line.partition(";")
            name, separator, version = requirement.partition("==")
            assert separator and version.strip(), f"not pinned: {line}"
            pins.setdefault(name, []).append(marker.strip())
    for name, markers in pins.items():
        complementary = sorted(markers) == ['python_version < "3.11"', 'python_version >= "3.11"']
        alone = len(markers) == 1
        assert alone or complementary, f"{name} is pinned {len(markers)} times: {markers}"
