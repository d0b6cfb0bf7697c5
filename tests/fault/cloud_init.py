#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Packer, Terraform and test harnesses ask cloud-init, asked of rouse under cloud-init's names."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback

ROUSE = os.path.abspath(os.environ.get("ROUSE", "build/rouse"))
LIMIT = 60  # seconds; no test comes near it unless something hangs
INSTANCE = {"cloud": "ec2", "id": "i-0abc", "type": "m7i.large", "region": "eu-west-1", "zone": "eu-west-1b",
            "hostname": "web-1", "tags": {"Name": "web one"}, "sshKeys": ["ssh-ed25519 AAAA ops"]}


class Machine:
    def __init__(self, verdict=None, reason=None, status=0):
        self.top = tempfile.mkdtemp(prefix="rouse-cloud-init-")
        self.run = os.path.join(self.top, "run")
        for name in ("cloud-init", "cloud-id"):
            os.symlink(ROUSE, os.path.join(self.top, name))
        if verdict:
            os.mkdir(self.run)
            self.end(verdict, reason, status)

    def end(self, verdict, reason=None, status=0):
        live = {"rouse": 1, "version": "test", "verdict": verdict, "status": status, "word": "x", "since": 1000,
                "reason": reason, "phase": "apply" if verdict == "pending" else None}
        self.write("layers.json", {"instance": INSTANCE, "layers": []})
        self.write("report.json", dict(live, phases=[], instance={k: INSTANCE[k] for k in ("cloud", "id", "region")}))
        self.write("status.json", live)

    def write(self, name, value):
        path = os.path.join(self.run, name)
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(value, f)
        os.rename(path + ".new", path)

    def call(self, name, *args):
        return subprocess.run([os.path.join(self.top, name), *args], stdin=subprocess.DEVNULL, timeout=LIMIT,
                              capture_output=True, text=True, check=False)

    def status(self, *args):
        return self.call("cloud-init", "status", "--run", self.run, *args)

    def query(self, *args):
        return self.call("cloud-init", "query", "--run", self.run, *args)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        shutil.rmtree(self.top)


def check(condition, *about):
    if not condition:
        raise AssertionError(*about)


def is_(r, status, out):
    check((r.returncode, r.stdout) == (status, out), r)


def status_is_one_line():
    for verdict, word, code in (("ready", "done", 0), ("degraded", "done", 2), ("failed", "error", 1), ("pending", "running", 0)):
        with Machine(verdict, None if verdict in ("ready", "pending") else "no lease") as m:
            is_(m.status(), code, f"status: {word}\n")
    with Machine() as m:
        is_(m.status(), 0, "status: not started\n")


def status_in_json_has_the_fields_of_its_schema():
    with Machine("failed", "no lease", 71) as m:
        r = m.status("--format", "json")
        j = json.loads(r.stdout)
        check(r.returncode == 1 and j["status"] == j["extended_status"] == "error" and j["errors"] == ["no lease"], j)
        check(j["datasource"] == "ec2" and j["detail"] == "DataSourceEc2" and j["recoverable_errors"] == {}, j)
        check(j["_schema_version"] == "1" and j["stage"] is None and j["boot_status_code"] == "enabled-by-generator", j)
        check(j["last_update"].endswith(" +0000"), j)
    with Machine("degraded", "the cache is away", 3) as m:
        r = m.status("--format=json")
        j = json.loads(r.stdout)
        check(r.returncode == 2 and j["status"] == "done" and j["extended_status"] == "degraded done", j)
        check(j["recoverable_errors"] == {"WARNING": ["the cache is away"]} and j["errors"] == [], j)
    with Machine("pending") as m:
        check(json.loads(m.status("--format", "json").stdout)["stage"] == "apply")


def status_in_yaml_and_at_length():
    with Machine("ready") as m:
        r = m.status("--format", "yaml")
        check(r.returncode == 0 and '\nstatus: "done"\n' in r.stdout and r.stdout.startswith("---\n"), r)
        r = m.status("--long")
        check("status: done\nextended_status: done\nboot_status_code: enabled-by-generator\n" in r.stdout, r)
        check("detail: DataSourceEc2\nerrors: []\n" in r.stdout, r)


def wait_ends_with_the_verdict():
    for verdict, code in (("ready", 0), ("failed", 1)):
        with Machine("pending") as m:
            p = subprocess.Popen([os.path.join(m.top, "cloud-init"), "status", "--wait", "--run", m.run],
                                 stdout=subprocess.PIPE, text=True)
            try:
                m.end(verdict, None if code == 0 else "x")
                out, _ = p.communicate(timeout=LIMIT)
            finally:
                p.kill()
            check((p.returncode, out) == (code, f"status: {'done' if code == 0 else 'error'}\n"), p.returncode, out)


def wait_begins_before_the_boot():
    with Machine() as m:
        p = subprocess.Popen([os.path.join(m.top, "cloud-init"), "status", "--wait", "--format", "json", "--run", m.run],
                             stdout=subprocess.PIPE, text=True)
        try:
            os.mkdir(m.run)
            m.end("ready")
            out, _ = p.communicate(timeout=LIMIT)
        finally:
            p.kill()
        check(p.returncode == 0 and json.loads(out)["status"] == "done", out)


def id_is_the_clouds_name():
    with Machine("ready") as m:
        is_(m.call("cloud-id", "--run", m.run), 0, "aws\n")
        is_(m.call("cloud-id", "--long", "--run", m.run), 0, "aws\teu-west-1\n")
        check(json.loads(m.call("cloud-id", "--json", "--run", m.run).stdout) == {"cloud_id": "aws", "region": "eu-west-1"})
    with Machine() as m:
        check(m.call("cloud-id", "--run", m.run).returncode == 1)


def query_knows_the_standard_names():
    with Machine("ready") as m:
        for name, value in (("instance_id", "i-0abc"), ("instance-id", "i-0abc"), ("v1.region", "eu-west-1"),
                            ("availability_zone", "eu-west-1b"), ("cloud_name", "aws"), ("local_hostname", "web-1"),
                            ("v1.instance_type", "m7i.large"), ("tags.Name", "web one"), ("platform", "ec2")):
            is_(m.query(name), 0, value + "\n")
        check(json.loads(m.query("public_ssh_keys").stdout) == INSTANCE["sshKeys"])
        check(json.loads(m.query("--all").stdout)["v1"]["region"] == "eu-west-1")
        keys = m.query("--list-keys").stdout.split("\n")
        check("v1" in keys and "instance_id" in keys and "cloud-name" in keys, keys)
        check("kernel_release" in m.query("--list-keys", "v1").stdout)
        is_(m.query("--format", "{{v1.cloud_name}} in {{ region }}!"), 0, "aws in eu-west-1!\n")
        r = m.query("nonsense")
        check(r.returncode == 1 and "there is no 'nonsense'" in r.stderr, r)
        check(m.query("--format", "{% if x %}{{ y }}").returncode == 1)
        check(m.query().returncode == 1)
    with Machine() as m:
        check(m.query("instance_id").returncode == 1)


def clean_forgets_the_instance_and_keeps_generations():
    with Machine("ready") as m:
        state = os.path.join(m.top, "root/var/lib/rouse")
        os.makedirs(state)
        os.makedirs(os.path.join(m.top, "root/etc"))
        for name in ("document.json", "layers.json", "signalled.json", "generations.json"):
            with open(os.path.join(state, name), "w", encoding="utf-8") as f:
                f.write("{}")
        r = m.call("cloud-init", "clean", "--logs", "--seed", "--machine-id", "--root", os.path.join(m.top, "root"))
        check(r.returncode == 0 and os.listdir(state) == ["generations.json"], r, os.listdir(state))
        with open(os.path.join(m.top, "root/etc/machine-id"), encoding="utf-8") as f:
            check(f.read() == "uninitialized\n")
        check(m.call("cloud-init", "clean", "--root", os.path.join(m.top, "root")).returncode == 0)  # once more


def other_calls_say_what_is_there():
    with Machine("ready") as m:
        check("rouse-" in m.call("cloud-init", "--version").stdout)
        for args in ((), ("init",), ("status", "--nope"), ("status", "--format", "xml"), ("status", "x")):
            r = m.call("cloud-init", *args)
            check(r.returncode == 2 and r.stderr, args, r)
        check(m.call("cloud-init", "--help").returncode == 0)


def package_has_the_names():
    if not shutil.which("dpkg-deb"):
        return
    with Machine() as m:
        deb = os.path.join(m.top, "x.deb")
        subprocess.run(["packaging/cloud-init/build", "1.2.3", deb], check=True, timeout=LIMIT)
        content = subprocess.run(["dpkg-deb", "-c", deb], check=True, capture_output=True, text=True).stdout
        for name in ("cloud-init", "cloud-id"):
            check(f"./usr/bin/{name} -> ../sbin/rouse" in content, content)
        fields = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
        check("Version: 1.2.3" in fields and "Conflicts: cloud-init" in fields and "Depends: rouse (>= 1.2.3)" in fields, fields)


def units_of_others_find_those_that_they_wait_for():
    if not shutil.which("dpkg-deb") or not shutil.which("systemd-analyze"):
        return
    with Machine() as m:
        deb, root = os.path.join(m.top, "x.deb"), os.path.join(m.top, "unpacked")
        subprocess.run(["packaging/cloud-init/build", "1.2.3", deb], check=True, timeout=LIMIT)
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
        units = root + "/lib/systemd/system"
        with open("packaging/systemd/rouse.service", encoding="utf-8") as f, \
                open(units + "/rouse.service", "w", encoding="utf-8") as to:
            to.write(f.read().replace("/usr/sbin/rouse boot", "/bin/true"))
        for name in ("cloud-init-local.service", "cloud-init.service", "cloud-config.service", "cloud-final.service",
                     "cloud-config.target", "cloud-init.target"):
            with open(units + "/others.service", "w", encoding="utf-8") as f:
                f.write(f"[Unit]\nRequires={name}\nAfter={name}\n[Service]\nExecStart=/bin/true\n")
            r = subprocess.run(["systemd-analyze", "verify", "--man=no", "others.service"], capture_output=True, text=True,
                               timeout=LIMIT, check=False, env=dict(os.environ, SYSTEMD_UNIT_PATH=units + ":"))
            check(r.returncode == 0 and not r.stderr, name, r)
        for name in ("cloud-init.target", "cloud-config.target"):
            check(os.path.exists(os.path.join(units, "multi-user.target.wants", name)), name)


TESTS = [status_is_one_line, status_in_json_has_the_fields_of_its_schema, status_in_yaml_and_at_length,
         wait_ends_with_the_verdict, wait_begins_before_the_boot, id_is_the_clouds_name, query_knows_the_standard_names,
         clean_forgets_the_instance_and_keeps_generations, other_calls_say_what_is_there, package_has_the_names,
         units_of_others_find_those_that_they_wait_for]


def main():
    failed = False
    print(f"1..{len(TESTS)}", flush=True)
    for n, test in enumerate(TESTS, 1):
        try:
            test()
            print(f"ok {n} - {test.__name__}", flush=True)
        except Exception:  # a test that breaks is a test that failed
            failed = True
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print(f"not ok {n} - {test.__name__}", flush=True)
    return failed


sys.exit(main())
