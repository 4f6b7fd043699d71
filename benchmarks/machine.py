"""What a row of a benchmark says about the machine, the code and the moment."""
import os, platform, subprocess, time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

packages = 'torch pillow simplejpeg numpy fastcore lightning fastai spdl-core nvidia-dali-cuda120 datago'.split()

def versions():
    "Of the packages that are there"
    found = {}
    for o in packages:
        try: found[o] = version(o)
        except PackageNotFoundError: pass
    return found

def facts(**more):
    "Host, processor, versions, commit, load now and the date; with `more`, such as load_before"
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    cpu = next((o.split(':')[1].strip() for o in lines if o.startswith('model name')), platform.machine())
    def git(*args):
        done = subprocess.run(['git', *args], capture_output=True, text=True, cwd=Path(__file__).parent)
        return done.stdout.strip()
    changed = bool(git('status', '--porcelain', '--untracked-files=no', '--', '../learner_scratch'))
    return dict(host=platform.node(), cpu=cpu, cores=os.cpu_count(), system=platform.platform(), python=platform.python_version(), **versions(),
                commit=git('rev-parse', '--short', 'HEAD') + '+'*changed, **more, load_after=round(os.getloadavg()[0], 2),
                date=time.strftime('%Y-%m-%d'))

def load(): return round(os.getloadavg()[0], 2)
