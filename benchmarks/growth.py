"""What a step and a message cost, for scale/growth: compute by batch size, all_reduce by size, and real steps with 1, 2 and 4 processes.

    python benchmarks/growth.py --save          # two idle cores, about three minutes; writes benchmarks/growth.json

Each process has one thread. `compute` is a step of one process without messages, for batches of several sizes; with two busy cores, four
processes share them, so their compute is twice as long. `messages` is one all_reduce of so many bytes over gloo on the loopback. `steps` are those
of Learner.distributed with the whole batch of 64 split among the processes: what the model has to predict. Medians."""
import argparse, json, os, statistics, subprocess, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory

here = Path(__file__).resolve()
sizes = [2**10, 2**14, 2**18, 2**20, 2**22, 2**24]     # bytes
shares = [8, 16, 32, 64]

def networks():
    import torch.nn as nn
    def mlp(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    def conv():
        def block(ni, nf): return [nn.Conv2d(ni, nf, 3, 2, 1), nn.ReLU()]
        return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 128), *block(128, 256), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))
    return dict(mlp=mlp, conv=conv)

def median_seconds(f, n):
    f()
    times = []
    for _ in range(n):
        start = time.perf_counter(); f()
        times.append(time.perf_counter()-start)
    return statistics.median(times)

def job(folder):
    import torch, torch.nn.functional as F, torch.distributed as dist
    from functools import partial
    from learner_scratch.all import Callback, DataLoaders, Learner
    from learner_scratch.scale.distributed import start_group
    torch.set_num_threads(1)
    group = start_group()
    found = dict(world=group.world, messages=[], compute=[], steps=[])
    if group.world>1:
        for n in sizes:
            x = torch.ones(n//4)
            found['messages'].append(dict(bytes=n, ms=1e3*median_seconds(lambda: dist.all_reduce(x), 30 if n<2**22 else 8)))
    Learner.default_cbs = []
    class Times(Callback):
        order = 2000
        def before_fit(self): self.seconds,self.last = [],time.perf_counter()
        def after_batch(self):
            now = time.perf_counter()
            self.seconds.append(now-self.last); self.last = now
    for name,make in networks().items():
        def steps(bs, distributed):
            torch.manual_seed(0)
            x,y = torch.randn(bs, 3, 32, 32),torch.randint(10, (bs,))
            learn = Learner(make(), DataLoaders([(x, y)]*25, None), F.cross_entropy, .01, opt_func=partial(torch.optim.SGD, momentum=.9))
            if distributed: learn.distributed()
            times = Times()
            learn.fit(1, cbs=times)
            return 1e3*statistics.median(times.seconds[5:])
        n = sum(p.numel() for p in make().parameters())
        # alone, as a rank computes: all ranks do it at the same time
        for bs in shares: found['compute'].append(dict(network=name, bs=bs, ms=steps(bs, False)))
        found['steps'].append(dict(network=name, parameters=n, bs=64, ms=steps(64, True)))
    if not group.rank: (Path(folder)/f'{group.world}.json').write_text(json.dumps(found))

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--save', action='store_true', help='write growth.json')
    parser.add_argument('--job', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job: return job(args.job)
    from machine import facts, load
    before = load()
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'NO_BAR': '1', 'PYTHONPATH': str(here.parents[1])}
    with TemporaryDirectory() as tmp:
        for n in (1, 2, 4):
            done = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(n), here, '--job', tmp], env=env, capture_output=True, text=True)
            if done.returncode: raise SystemExit(done.stderr[-3000:])
        rows = [json.loads((Path(tmp)/f'{n}.json').read_text()) for n in (1, 2, 4)]
    for o in rows: print(json.dumps(o))
    if args.save: here.with_suffix('.json').write_text(json.dumps(dict(worlds=rows, machine=facts(load_before=before)), indent=1)+'\n')

if __name__=='__main__': main()
