"""The Dockerfile: what its last stage promises, and what a linter says."""

import re
import tomllib

from tools import DEPLOY, ROOT, run, tool, version

DOCKERFILE = DEPLOY / "Dockerfile"


def instructions(text=None):
    """The Dockerfile as (word, rest) in order, lines joined and comments left out."""
    text = DOCKERFILE.read_text() if text is None else text
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines()]


def stages(found):
    """The instructions of each stage, the FROM first."""
    split = []
    for word, rest in found:
        if word == "FROM":
            split.append([])
        if split:
            split[-1].append((word, rest))
    return split


def variables():
    """What ENV of the last stage gives to the daemon, PATH aside."""
    pairs = [pair for word, rest in stages(instructions())[-1] if word == "ENV" for pair in re.findall(r"(\w+)=(\S+)", rest)]
    return {name: value for name, value in pairs if name != "PATH"}


def mistakes(text=None):
    found = instructions(text)
    all_stages = stages(found)
    last = dict(all_stages[-1])
    wrong = []
    wanted = {
        "USER": "10001:10001",
        "ENTRYPOINT": '["clickhouse-backupd"]',
        "CMD": '["server"]',
        "EXPOSE": "7171",
        "VOLUME": '["/var/lib/clickhouse-backupd"]',
    }
    wrong += [f"{word} is {last.get(word)}" for word, value in wanted.items() if last.get(word) != value]
    if not last.get("HEALTHCHECK", "").endswith('CMD ["clickhouse-backupd", "health"]'):
        wrong.append("the health check is not the binary's own")
    if "API_LISTEN=0.0.0.0:7171" not in last.get("ENV", ""):
        wrong.append("the API is not reachable from other pods")
    if "org.opencontainers.image.licenses" not in last.get("LABEL", ""):
        wrong.append("labels are missing")
    arguments = dict(rest.split("=", 1) for word, rest in all_stages[-1] if word == "ARG")
    if arguments.get("VERSION") != version():
        wrong.append(f"VERSION is {arguments.get('VERSION')}, and this is {version()}")
    return wrong + _release_mistakes(all_stages) + _context_mistakes(all_stages)


def _release_mistakes(all_stages):
    """The binary runs on the C library of the release that it was linked on."""
    bases = [stage[0][1].split()[0] for stage in all_stages]
    releases = {re.search(r"(bookworm|trixie|bullseye|forky)", base).group(1) for base in bases if base != "scratch"}
    wrong = [f"the stages are of {sorted(releases)}"] if len(releases) != 1 else []
    least = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["rust-version"]
    if not bases[0].startswith(f"rust:{least}"):
        wrong.append(f"{bases[0]} builds what needs Rust {least}")
    return wrong


def _context_mistakes(all_stages):
    """What is copied from the repository is there, and is let into the build."""
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    wrong = []
    for word, rest in (each for stage in all_stages for each in stage):
        if word != "COPY" or "--from=" in rest:
            continue
        for source in rest.split()[:-1]:
            if not (ROOT / source).exists():
                wrong.append(f"{source} is not there")
            if f"!{source}" not in allowed:
                wrong.append(f"{source} is not let in by Dockerfile.dockerignore")
    return wrong


def lint_mistakes():
    code, out, error = run([tool("hadolint", "tests/deploy/install brings it"), "--no-color", DOCKERFILE])
    wrong = (out + error).splitlines() or ([f"hadolint ends with {code}"] if code else [])
    code, _, error = run(["sh", "-n", DEPLOY / "image-root"])
    return wrong + error.splitlines()
