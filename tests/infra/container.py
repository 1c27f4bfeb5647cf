"""What stands in for a builder and a container runtime: a Dockerfile's steps, done for real below a folder.

The base image is this machine's system and Python, read-only, in namespaces of their own. Packages are those of this
Python, so that gigabytes are not installed a second time; there is no network to ask for others.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PACKAGES = Path(sysconfig.get_path("purelib"))
NAMESPACES = ("unshare", "--mount", "--pid", "--net", "--ipc", "--fork", "--kill-child")
USERS = {"passwd": "root:x:0:0:root:/root:/bin/bash\n", "group": "root:x:0:\n", "hosts": "127.0.0.1 localhost\n"}
COPIED = ("profile", "login.defs", "default/useradd", "nsswitch.conf", "mime.types")
# What a runtime adds to an image: /proc, /dev, and /tmp; the rest of the root file system may be read-only
ENTER = """
ip link set lo up
mount --bind "$root" "$root"
mount --bind -o ro /usr "$root/usr"
mount --bind -o ro "$python" "$root/usr/local"
mount --bind -o ro "$packages" "$root/packages"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for volume in $volumes; do mount --bind "$root.volumes$volume" "$root$volume"; done
if [ "$writable" = no ]; then mount -o remount,ro,bind "$root"; fi
exec chroot "$root" "$@"
"""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Return a Dockerfile's instructions in their order: keyword and the rest, continued lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split()[0], " ".join(line.split()[1:])) for line in joined]


def context(repository: Path, folder: Path) -> Path:
    """Copy what a builder would be sent of a clean clone: files that git knows and .dockerignore lets through."""
    rules = [line for line in (repository / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0"):
        if name and not _ignored(name, rules):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, folder / name)
    return folder


def _ignored(name: str, rules: Iterable[str]) -> bool:
    """Whether the last rule that matches a file, or a folder it lies in, has no exclamation mark."""
    parts = name.split("/")
    paths = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    ignored = False
    for rule in rules:
        pattern = re.escape(rule.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if any(re.fullmatch(pattern, path) for path in paths):
            ignored = rule[0] != "!"
    return ignored


@dataclass
class Image:
    """A root folder, and what instructions said of how to run in it."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin"})
    folder: str = "/"
    user: str = "0:0"
    health: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        writable: bool = False,
        volumes: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the image's user without any capability; a volume's files lie in <root>.volumes."""
        user, group = self.user.split(":")
        rights = () if user == "0" else ("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
        environment = {**self.environment, **(env or {})}
        given = {
            "root": str(self.root),
            "python": sys.base_prefix,
            "packages": str(PACKAGES),
            "volumes": " ".join(volumes),
            "writable": "yes" if writable else "no",
            "PATH": os.environ["PATH"],
        }
        inside = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *rights]
        inside += ["env", "-i", f"--chdir={self.folder}", *(f"{k}={v}" for k, v in environment.items()), *command]
        return subprocess.run(
            [*NAMESPACES, "bash", "-euc", ENTER, "enter", *inside],
            env=given,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )


def build(dockerfile: Path, sent: Path, folder: Path) -> Image:
    """Do a Dockerfile's steps in their order, the packages that pip installs being there; raises when one fails."""
    stages: dict[str, Image] = {}
    image = Image(folder)
    for number, (keyword, value) in enumerate(instructions(dockerfile)):
        match keyword:
            case "FROM":
                source, *name = value.split(" AS ")
                image = _begin(folder / str(number), stages.get(source))
                stages[name[0] if name else ""] = image
            case "ENV":
                for word in shlex.split(value):
                    variable, _, text = word.partition("=")
                    image.environment[variable] = text.replace("$PATH", image.environment["PATH"])
            case "WORKDIR":
                image.folder = value
                (image.root / value[1:]).mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(image, value.split(), sent, stages)
            case "RUN":
                # the setuptools that this Python has serves to build: another one would have to be downloaded
                offline = {"PYTHONPATH": "/packages", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
                done = image.run(["sh", "-c", value], env=offline, writable=True)
                assert done.returncode == 0, f"RUN {value}: {done.stdout}{done.stderr}"
            case "USER":
                image.user = value
            case "HEALTHCHECK":
                image.health = json.loads(value[value.index("[") :])
            case "CMD":
                image.command = json.loads(value)
            case "ARG" | "LABEL":
                pass
            case _:
                raise AssertionError(f"{keyword} is nothing that this knows to do")
    _lend_packages(image.root / "opt" / "lakescore")
    return image


def _begin(root: Path, parent: Image | None) -> Image:
    if parent:
        shutil.copytree(parent.root, root, symlinks=True)
        return Image(root, dict(parent.environment), parent.folder)
    for name in ("usr", "proc", "dev", "tmp", "packages", "etc/default", "etc/profile.d", "home", "root", "opt"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    for name, text in USERS.items():
        (root / "etc" / name).write_text(text)
    for name in COPIED:
        if (Path("/etc") / name).exists():
            shutil.copy(Path("/etc") / name, root / "etc" / name)
    image = Image(root)
    (root / "etc" / "ld.so.conf").write_text("/usr/local/lib\n")  # where the Python of official images has its library
    assert (done := image.run(["/sbin/ldconfig"], writable=True)).returncode == 0, done.stderr
    return image


def _copy(image: Image, words: list[str], sent: Path, stages: Mapping[str, Image]) -> None:
    origin = stages[words.pop(0).removeprefix("--from=")].root if words[0].startswith("--from=") else sent
    *sources, target = words
    to = image.root / (Path(image.folder) / target).relative_to("/")
    for source in sources:
        path = origin / source.lstrip("/")
        assert path.exists(), f"COPY {source}: it is not in the context (.dockerignore), or not in that stage"
        if path.is_dir():
            shutil.copytree(path, to, symlinks=True, dirs_exist_ok=True)
        else:
            into_folder = target.endswith("/") or len(sources) > 1
            (to if into_folder else to.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, to / path.name if into_folder else to)


def _lend_packages(environment: Path) -> None:
    """Do what pip would have, had it installed the packages: they are found, and Ray's program is there."""
    (environment / "lib" / "python3.11" / "site-packages" / "packages.pth").write_text("/packages\n")
    text = (Path(sys.executable).parent / "ray").read_text()
    (environment / "bin" / "ray").write_text("#!/opt/lakescore/bin/python\n" + text.split("\n", 1)[1])
    (environment / "bin" / "ray").chmod(0o755)
