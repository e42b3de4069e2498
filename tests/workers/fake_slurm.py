#!/usr/bin/env python3
"""Slurm's commands for tests, on one machine: `sbatch`, `squeue`, `sacct` and `scancel` are links to this file.

A folder (FAKE_SLURM) holds what it knows: a folder a job with `name`, `size` and a state of each element. Files in it
make it misbehave; the first word of each is a count, which goes down:

    mute      commands say that there is no controller
    swallow   sbatch takes the job and says that the answer timed out
    drop      sbatch takes the job and forgets it
    amnesia   squeue lists nothing
    word      squeue's word for a job that runs
"""

import os
import signal
import subprocess
import sys
import time

FOLDER = os.environ["FAKE_SLURM"]


def misbehaves(how):
    path = f"{FOLDER}/{how}"
    try:
        with open(path) as file:
            left = int(file.read().split()[0])
    except FileNotFoundError:
        return False
    if left <= 0:
        return False
    with open(path, "w") as file:
        file.write(str(left - 1))
    return True


def write(path, text):
    with open(path + ".new", "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def read(path):
    with open(path) as file:
        return file.read()


def jobs():
    return sorted((name for name in os.listdir(FOLDER) if name.isdigit()), key=int)


def sbatch(words):
    given = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    if "unknown" in given:
        sys.exit("sbatch: unrecognized option '--unknown'\nTry \"sbatch --help\" for more information")
    name = str(len(jobs()) + 1)
    size = int(given["array"].partition("-")[2]) + 1
    if not misbehaves("drop"):
        os.mkdir(f"{FOLDER}/{name}")
        write(f"{FOLDER}/{name}/name", given["job-name"])
        write(f"{FOLDER}/{name}/size", str(size))
        subprocess.Popen(
            [sys.executable, __file__, "run", name, str(size), words[-1], given["output"]], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    if misbehaves("swallow"):
        sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    print(name)


def run(name, size, script, output):
    """The elements, two at a time."""
    running = {}
    for element in range(int(size)):
        while len(running) == 2:
            reap(name, running)
        if os.path.exists(f"{FOLDER}/{name}/cancelled"):
            write(f"{FOLDER}/{name}/{element}.state", "CANCELLED")
            continue
        with open(output.replace("%a", str(element)), "w") as out:
            process = subprocess.Popen(
                ["sh", script], env={**os.environ, "SLURM_ARRAY_TASK_ID": str(element)}, stdout=out, stderr=out
            )
        write(f"{FOLDER}/{name}/{element}.pid", str(process.pid))
        write(f"{FOLDER}/{name}/{element}.state", "RUNNING")
        running[element] = process
    while running:
        reap(name, running)


def reap(name, running):
    for element, process in list(running.items()):
        status = process.poll()
        if status is not None:
            cancelled = os.path.exists(f"{FOLDER}/{name}/cancelled")
            state = "CANCELLED" if cancelled else "COMPLETED" if status == 0 else "FAILED"
            write(f"{FOLDER}/{name}/{element}.state", state)
            del running[element]
    time.sleep(0.01)


def states(name):
    for element in range(int(read(f"{FOLDER}/{name}/size"))):
        try:
            yield element, read(f"{FOLDER}/{name}/{element}.state")
        except FileNotFoundError:
            yield element, "PENDING"


def squeue(words):
    if misbehaves("amnesia"):
        return
    wanted = next(word for word in words if word.startswith("--name="))[7:].split(",")
    for name in jobs():
        token = read(f"{FOLDER}/{name}/name")
        if token in wanted:
            for element, state in states(name):
                if state == "RUNNING" and misbehaves("word"):
                    state = "FROBNICATING"
                print(f"{token}|{name}|{element}|{state}|n1|None")


def scancel(words):
    for name in words:
        name, _, only = name.partition("_")
        if name.isdigit() and os.path.isdir(f"{FOLDER}/{name}"):
            write(f"{FOLDER}/{name}/cancelled", "")
            for element, state in states(name):
                if state == "RUNNING" and only in ("", str(element)):
                    os.kill(int(read(f"{FOLDER}/{name}/{element}.pid")), signal.SIGTERM)


def main():
    command, *words = os.path.basename(sys.argv[0]), *sys.argv[1:]
    if command == "fake_slurm.py":
        run(*words[1:])
        return
    with open(f"{FOLDER}/asked", "a") as file:
        file.write(command + "\n")
    if misbehaves("mute"):
        sys.exit(f"{command}: error: Unable to contact slurm controller (connect failure)")
    if command == "sacct":
        sys.exit("Slurm accounting storage is disabled")
    if command == "scontrol":
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    {"sbatch": sbatch, "squeue": squeue, "scancel": scancel}[command](words)


main()
