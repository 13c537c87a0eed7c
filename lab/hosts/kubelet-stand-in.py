#!/usr/bin/env python3
"""Stands in for the kubelet on a lab host, as far as static pods go.

What it does as the real one does:
- loads every file of the manifest directory whose name has no leading dot, `etcd.yaml.bak` too
  (kubernetes#129364); of two files for one pod only one runs, the other waits for its end;
- a pod's identity is a hash of its file: changed content means stop, then start;
- stops with SIGTERM and, after terminationGracePeriodSeconds (30), SIGKILL;
- starts a container that ended again, at once the first time, then after 10, 20, 40 ... 300 s;
- kills one whose liveness or startup probe fails too often;
- stopping the kubelet stops no pod: each runs as a transient unit and is adopted again;
- each start of a container has a log of its own, named by how many there were before it, and only the
  newest two are kept (without the prefix that a container runtime puts before each line).

The real one takes seconds to notice, to start, to try again; this one takes a tenth of that. /run/kubelet-pace
holds another factor (1 = as the real one), for the fault that makes a host's kubelet slow.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import yaml

MANIFESTS = "/etc/kubernetes/manifests"
PACE_FILE = "/run/kubelet-pace"
FAST = 0.1
LOGS = "/var/log/pods"
UNIT_PREFIX = "static-pod-"


def say(text):
    print(text, flush=True)


def pace():
    try:
        with open(PACE_FILE, encoding="ascii") as file:
            return float(file.read())
    except (OSError, ValueError):
        return FAST


def systemctl(*args):
    return subprocess.run(["systemctl", *args], capture_output=True, text=True, check=False)


class Pod:
    """What one manifest file asks for."""

    def __init__(self, path, raw):
        document = yaml.safe_load(raw)
        metadata = document["metadata"]
        spec = document["spec"]
        container = spec["containers"][0]
        self.name = metadata["name"]
        self.namespace = metadata.get("namespace", "default")
        self.container = container["name"]
        self.command = [str(word) for word in container["command"] + container.get("args", [])]
        self.grace = int(spec.get("terminationGracePeriodSeconds", 30))
        self.probes = {kind: container.get(kind + "Probe") for kind in ("liveness", "startup")}
        self.directories = [
            volume["hostPath"]["path"]
            for volume in spec.get("volumes", [])
            if volume.get("hostPath", {}).get("type") == "DirectoryOrCreate"
        ]
        identity = hashlib.sha256(path.encode() + b"\0" + raw).hexdigest()
        self.uid = identity[:32]
        self.full_name = f"{self.name}_{self.namespace}"
        self.unit = f"{UNIT_PREFIX}{self.name}-{identity[:10]}.service"

    def next_log(self):
        """The log of the start that comes now; those before the last one are dropped."""
        node = os.uname().nodename
        directory = f"{LOGS}/{self.namespace}_{self.name}-{node}_{self.uid}/{self.container}"
        os.makedirs(directory, exist_ok=True)
        numbers = sorted(int(name[:-4]) for name in os.listdir(directory) if name[:-4].isdigit())
        for old in numbers[:-1]:
            os.remove(f"{directory}/{old}.log")
        return f"{directory}/{numbers[-1] + 1 if numbers else 0}.log"


def read_manifests(complaints, seen):
    """Every pod that the directory asks for now, in the order of the file names.

    `seen` keeps what was read before, by path: files are parsed again only when they changed.
    """
    pods = []
    try:
        names = sorted(os.listdir(MANIFESTS))
    except FileNotFoundError:
        return pods
    for name in names:
        path = os.path.join(MANIFESTS, name)
        if name.startswith(".") or not os.path.isfile(path):
            continue
        try:
            status = os.stat(path)
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen.get(path, (None, None))[0] != version:
                with open(path, "rb") as file:
                    raw = file.read()
                seen[path] = (version, None)
                seen[path] = (version, Pod(path, raw))
                complaints.pop(path, None)
            if seen[path][1] is not None:
                pods.append(seen[path][1])
        except FileNotFoundError:
            continue
        except Exception as error:  # a half-written or foreign file must not stop the others
            if complaints.get(path) != str(error):
                complaints[path] = str(error)
                say(f"can't process manifest file {path}: {error}")
    return pods


class Runner:
    """One running pod and the thread that looks after it."""

    def __init__(self, pod, adopted):
        self.pod = pod
        self.wanted = True
        self.done = False
        self.thread = threading.Thread(target=self.live, args=(adopted,), daemon=True)
        self.thread.start()

    def live(self, adopted):
        try:
            if not adopted:
                self.wait(random.uniform(0.5, 3.0) * pace())
            self.keep_running(adopted)
            self.stop()
        finally:
            self.done = True

    def keep_running(self, adopted):
        failures = 0
        while self.wanted:
            if not adopted:
                self.start()
            adopted = False
            started = time.monotonic()
            self.watch()
            if not self.wanted:
                return
            if time.monotonic() - started > 600:
                failures = 0
            delay = random.uniform(0.3, 1.0) if failures == 0 else min(10 * 2 ** (failures - 1), 300)
            failures += 1
            say(f"{self.pod.full_name} ended; back-off {delay * pace():.1f} s")
            self.wait(delay * pace())

    def watch(self):
        """Returns when the pod ended, was killed for its probes, or is wanted no more."""
        probes = {kind: Probe(spec) for kind, spec in self.pod.probes.items() if spec}
        ready = "startup" not in probes
        process = Process(systemctl("show", "--property=MainPID", "--value", self.pod.unit).stdout)
        while self.wanted:
            if not process.runs() and self.state() == "gone":
                return
            probe = probes.get("liveness" if ready else "startup")
            verdict = probe.look() if probe else None
            if verdict == "ok":
                ready = True
            elif verdict == "failed":
                say(f"{self.pod.full_name} failed its {'liveness' if ready else 'startup'} probe, killing it")
                self.stop()
                return
            self.wait(0.2)

    def start(self):
        for directory in self.pod.directories:
            os.makedirs(directory, mode=0o755, exist_ok=True)
        log = self.pod.next_log()
        systemctl("reset-failed", self.pod.unit)
        # sh gives the process the very words of the manifest: ps shows "etcd --advertise-...".
        result = subprocess.run(
            [
                "systemd-run", "--quiet", "--collect", f"--unit={self.pod.unit}",
                "--slice=kubepods.slice", "--property=Type=exec", "--property=KillMode=mixed",
                f"--property=TimeoutStopSec={self.pod.grace}", "--property=OOMScoreAdjust=-997",
                f"--property=StandardOutput=append:{log}",
                f"--property=StandardError=append:{log}",
                "/bin/sh", "-c", 'exec "$0" "$@"', *self.pod.command,
            ],
            capture_output=True, text=True, check=False,
        )
        say(f"started {self.pod.full_name}" if result.returncode == 0 else f"can't start: {result.stderr}")

    def stop(self):
        systemctl("stop", self.pod.unit)
        say(f"stopped {self.pod.full_name}")

    def state(self):
        shown = systemctl("show", "--property=ActiveState", "--value", self.pod.unit).stdout.strip()
        return "gone" if shown in ("inactive", "failed") else "running"

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while self.wanted and time.monotonic() < end:
            time.sleep(min(0.05, max(0.0, end - time.monotonic())))


class Process:
    """A process told apart from a later one with its pid; asking costs no fork."""

    def __init__(self, pid):
        self.stat = f"/proc/{pid.strip() or '0'}/stat"
        self.start = self.start_time()

    def start_time(self):
        try:
            with open(self.stat, encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]

    def runs(self):
        return self.start is not None and self.start_time() == self.start


class Probe:
    """An httpGet probe; successThreshold is 1, as it has to be for these two kinds."""

    def __init__(self, spec):
        get = spec["httpGet"]
        self.url = f"{get.get('scheme', 'HTTP').lower()}://{get.get('host', '127.0.0.1')}:{get['port']}{get['path']}"
        self.period = spec.get("periodSeconds", 10)
        self.timeout = spec.get("timeoutSeconds", 1)
        self.allowed = spec.get("failureThreshold", 3)
        self.next = time.monotonic() + spec.get("initialDelaySeconds", 0)
        self.failures = 0

    def look(self):
        if time.monotonic() < self.next:
            return None
        self.next = time.monotonic() + self.period
        try:
            with urllib.request.urlopen(self.url, timeout=self.timeout):
                self.failures = 0
                return "ok"
        except OSError:
            self.failures += 1
            return "failed" if self.failures >= self.allowed else None


def running_units():
    listed = systemctl("list-units", "--plain", "--no-legend", "--state=active,activating", UNIT_PREFIX + "*")
    return {line.split()[0] for line in listed.stdout.splitlines() if line.strip()}


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    complaints = {}
    seen = {}
    runners = {}
    left_behind = running_units()
    noticed = {}
    say("static pods of " + MANIFESTS)
    while True:
        pods = read_manifests(complaints, seen)
        for pod in pods:
            if pod.unit in left_behind and pod.unit not in runners:
                left_behind.discard(pod.unit)
                say(f"adopted {pod.full_name}")
                runners[pod.unit] = Runner(pod, adopted=True)
        for unit in left_behind:  # removed or changed while no kubelet was there
            threading.Thread(target=systemctl, args=("stop", unit), daemon=True).start()
        left_behind = set()
        asked = {pod.unit for pod in pods}
        now = time.monotonic()
        for unit, runner in list(runners.items()):
            if unit in asked:
                noticed.pop(unit, None)
            elif runner.wanted and now >= noticed.setdefault(unit, now + random.uniform(0.3, 1.5) * pace()):
                runner.wanted = False
            if runner.done:
                del runners[unit]
                noticed.pop(unit, None)
        held = {runner.pod.full_name for runner in runners.values()}
        for pod in pods:
            if pod.unit not in runners and pod.full_name not in held:
                held.add(pod.full_name)
                runners[pod.unit] = Runner(pod, adopted=False)
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
