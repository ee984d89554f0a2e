"""A copy of the tree whose program can be altered, one place at a time, by an environment variable: for proofs that tests see what they are to see.

A change is a table with a name and file, find, replace; one that needs several places has a list of such tables, places. In src/ all changes are compiled in at
once. The word of the copy, such as WITHOUT, stands in a replacement for what is true while this change is the one that TENANTRY_WITHOUT names.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
SWITCH = """
/// Whether the program is altered in this way, for the proof that tests see it. No other build has this.
#[allow(missing_docs)]
pub fn {function}(change: &str) -> bool {{
    std::env::var("{variable}").is_ok_and(|name| name == change)
}}
"""


def fail(text):
    sys.exit(f"{pathlib.Path(sys.argv[0]).parent.name}/{pathlib.Path(sys.argv[0]).name}: {text}")


class Altered:
    """The copy, in .local/NAME/tree, and the cluster and Postgres of that name."""

    def __init__(self, name, word, source, changes):
        self.name, self.word, self.source, self.changes = name, word, source, changes
        self.tree = ROOT / ".local" / name / "tree"
        self.contents = {}
        names = [change["name"] for change in changes]
        if twice := {name for name in names if names.count(name) > 1}:
            fail(f"{source} has several of the name {', '.join(sorted(twice))}")

    def copy(self):
        """Brings the copy to the tree as it is, without touching what is the same, so that only what changed is built again."""
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True)
        wanted = {name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()}
        contents = {name: (ROOT / name).read_bytes() for name in wanted}
        contents.update(self.switchable(contents))
        for name, content in contents.items():
            target = self.tree / name
            if not target.is_file() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                shutil.copymode(ROOT / name, target)
        for path in [path for path in self.tree.rglob("*") if path.is_file() and not path.is_symlink()]:
            name = str(path.relative_to(self.tree))
            if name not in wanted and not name.startswith("target/"):
                path.unlink()
        local = self.tree / ".local"
        local.mkdir(exist_ok=True)
        if not (local / "bin").is_symlink():
            (local / "bin").symlink_to(ROOT / ".local/bin")
        self.contents = contents

    def switchable(self, contents):
        """The files of the program, with every change in them."""
        changed = {}
        for change in self.changes:
            for place in change.get("places", [change]):
                name = place.get("file", "")
                if not name.startswith("src/"):
                    continue
                path = "tenantry" if name.startswith(("src/command/", "src/main.rs")) else "crate"
                call = f'{path}::{self.word.lower()}("{change["name"]}")'
                text = changed.get(name, contents[name]).decode()
                replace = place["replace"].replace(self.word, call)
                changed[name] = self.replaced({**place, "name": change["name"], "replace": replace}, text).encode()
        switch = SWITCH.format(function=self.word.lower(), variable=self.variable)
        changed["src/lib.rs"] = changed.get("src/lib.rs", contents["src/lib.rs"]) + switch.encode()
        return changed

    def replaced(self, place, text):
        """The text with the change of this place made."""
        # A text of several lines begins on a line of its own.
        find, replace = place["find"].removeprefix("\n"), place["replace"].removeprefix("\n")
        if (times := text.count(find)) != 1:
            fail(f"{place['name']!r}: its text is {times} times in {place['file']}: renew it in {self.source}\n{find}")
        return text.replace(find, replace)

    def check(self):
        """Fails where a change no longer fits the tree, because the code moved on."""
        names = {place["file"] for change in self.changes for place in change.get("places", [change]) if "file" in place}
        contents = {name: (ROOT / name).read_bytes() for name in names | {"src/lib.rs"}}
        self.switchable(contents)
        for change in self.changes:
            for place in change.get("places", [change]):
                if "file" in place and not place["file"].startswith("src/"):
                    self.replaced({**place, "name": change["name"]}, contents[place["file"]].decode())

    @property
    def variable(self):
        return f"TENANTRY_{self.word}"

    def build(self, test):
        """Builds one test binary."""
        print(f"building {test}, with every change of {self.source} switchable (some minutes at first)", flush=True)
        command = ["cargo", "test", "--no-run", "--test", test, "--message-format", "short"]
        built = subprocess.run(command, cwd=self.tree, capture_output=True, text=True)
        found = re.search(rf"Executable .*\((.*/{test}-[0-9a-f]+)\)", built.stderr)
        if built.returncode != 0 or not found:
            errors = [line for line in built.stderr.splitlines() if "error" in line]
            fail(f"it can't be built; is a change in {self.source} no Rust?\n" + "\n".join(errors))
        return self.tree / found.group(1)

    def up(self, cluster=(), postgres=()):
        """Brings the cluster and Postgres up, and tells the environment to reach them by."""
        for command in (["dev/cluster", "up", self.name, *cluster], ["dev/postgres", "up", self.name, "--fast", *postgres]):
            subprocess.run(command, cwd=ROOT, check=True)
        lines = subprocess.run(["bash", "-c", f". .local/{self.name}/env && env"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)

    def down(self):
        for command in (["dev/postgres", "down", self.name], ["dev/cluster", "down", self.name]):
            subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL)

    def run(self, command, variables, longest):
        """Runs a test for at most so many seconds: all that it said, and how it ended."""
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=self.tree,
            env={**variables, "RUST_BACKTRACE": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=longest)
            return output, process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return output, "time is up"

    def keep_log(self, name, output):
        (ROOT / ".local" / self.name / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.log").write_text(output)


def read(source):
    return tomllib.loads((ROOT / source).read_text())
