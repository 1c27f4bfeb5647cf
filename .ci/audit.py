"""Compare the pins with a database of known vulnerabilities; fails on findings, and says loudly what was not compared.

audit.py .venv-audit/bin/pip-audit constraints.txt
"""

import json
import subprocess
import sys


def main(program: str, pins: str) -> int:
    command = [program, "--disable-pip", "--no-deps", "--format=json", "--progress-spinner=off", "--requirement", pins]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:  # pip-audit answers with findings and with a broken connection by the same exit code
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        print(f"NOT RUN: pip-audit gave no answer: {reason[:300]}")
        return 0
    skipped = [package for package in packages if "skip_reason" in package]
    found = [(package, finding) for package in packages for finding in package.get("vulns", ())]
    for package, finding in found:
        fixes = ", ".join(finding["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {finding['id']}, fixed in {fixes}")
    print(f"{len(packages) - len(skipped)} of {len(packages)} pins compared, {len(found)} vulnerabilities known")
    if skipped:
        some = ", ".join(package["name"] for package in skipped[:5])
        print(f"NOT RUN for {len(skipped)} pins, such as {some}: {skipped[0]['skip_reason']}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
