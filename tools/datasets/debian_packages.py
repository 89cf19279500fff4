#!/usr/bin/env python3
"""Writes Debian's package index as JSON lines: one document a package, its long English description.

    debian_packages.py --work FOLDER --out FILE.jsonl

Fields: id (package name), document (name, synopsis and description), metadata (section, tags, installed_kib, homepage, version,
priority; those that the index gives). apt fetches the index into FOLDER, apart from the system's own lists, so no root is needed; with
the output there already, nothing is fetched. About 63,000 documents on Debian 12.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile


def apt_options(work):
    options = {
        "Dir::State::Lists": os.path.join(work, "lists"),
        "Dir::Cache": os.path.join(work, "cache"),
        "Acquire::Languages": "en",
        # The folder is ours: as root, apt would else hand it to its own user.
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    return [part for name, value in options.items() if value for part in ("-o", f"{name}={value}")]


def fetch(work):
    os.makedirs(os.path.join(work, "lists", "partial"), exist_ok=True)
    os.makedirs(os.path.join(work, "cache", "archives", "partial"), exist_ok=True)
    done = subprocess.run(["apt-get", *apt_options(work), "-q", "update"], capture_output=True, text=True)
    if done.returncode != 0:
        print("warning: some of this machine's apt sources could not be read:", file=sys.stderr)
        print("\n".join("  " + l for l in done.stderr.splitlines()[:6]), file=sys.stderr)


def index_files(work, created_by):
    """Paths of the index files of Debian itself, as apt names them (they may be compressed)."""
    out = subprocess.run(
        ["apt-get", *apt_options(work), "indextargets", "--format", "$(ORIGIN)\t$(FILENAME)", f"Created-By: {created_by}"],
        check=True, capture_output=True, text=True).stdout
    pairs = (line.split("\t", 1) for line in out.splitlines())
    return [path for origin, path in pairs if origin == "Debian" and os.path.exists(path)]


def stanzas(path):
    """The paragraphs of a Debian control file, as dicts; a continued value keeps its line breaks."""
    cat = subprocess.Popen(["/usr/lib/apt/apt-helper", "cat-file", path], stdout=subprocess.PIPE, text=True, encoding="utf-8",
                           errors="replace")
    fields, last = {}, None
    for line in cat.stdout:
        line = line.rstrip("\n")
        if not line:
            if fields:
                yield fields
            fields, last = {}, None
        elif line[0] in " \t":
            fields[last] += "\n" + line[1:]
        else:
            last, _, value = line.partition(":")
            fields[last] = value.strip()
    if fields:
        yield fields
    if cat.wait() != 0:
        raise SystemExit(f"apt-helper could not read {path}")


def plain_text(description):
    """A synopsis and its paragraphs; " ." stands for an empty line."""
    return "\n".join("" if line == "." else line for line in description.split("\n"))


def document_of(package, description):
    metadata = {}
    for field, key in (("Section", "section"), ("Tag", "tags"), ("Homepage", "homepage"), ("Version", "version"),
                       ("Priority", "priority")):
        if field in package:
            metadata[key] = " ".join(package[field].split())
    if package.get("Installed-Size", "").isdigit():
        metadata["installed_kib"] = int(package["Installed-Size"])
    return {"id": package["Package"], "document": f"{package['Package']}: {plain_text(description)}", "metadata": metadata}


def write_documents(work, out_path):
    descriptions = {}
    for path in index_files(work, "Translations"):
        for s in stanzas(path):
            if "Description-md5" in s and "Description-en" in s:
                descriptions[s["Description-md5"]] = s["Description-en"]
    seen = set()
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=os.path.dirname(os.path.abspath(out_path)), delete=False) as out:
        for path in index_files(work, "Packages"):
            for package in stanzas(path):
                if package["Package"] in seen:
                    continue
                seen.add(package["Package"])
                description = descriptions.get(package.get("Description-md5"), package.get("Description", ""))
                json.dump(document_of(package, description), out, ensure_ascii=False, separators=(",", ":"))
                out.write("\n")
    if not seen:
        os.unlink(out.name)
        raise SystemExit("apt has no package index of Debian: is there a Debian source in /etc/apt, and can it be reached?")
    os.chmod(out.name, 0o644)
    os.replace(out.name, out_path)
    return len(seen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True, help="folder for apt's lists, kept for the next time")
    parser.add_argument("--out", required=True, help="the file to write; left as it is if it exists")
    args = parser.parse_args()
    if os.path.exists(args.out):
        return
    work = os.path.abspath(args.work)
    fetch(work)
    print(f"{args.out}: {write_documents(work, args.out)} documents")


if __name__ == "__main__":
    main()
