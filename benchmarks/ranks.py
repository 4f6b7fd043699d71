"""Several processes: lost ranks, restarts, and the step's time beside DistributedDataParallel.

    python benchmarks/ranks.py --save               # all, a few minutes on two idle cores; writes benchmarks/ranks.json
    python benchmarks/ranks.py --only faults restarts --short     # as .ci/run has it: no SIGSTOP, and no other world

Faults: two ranks train; rank 1 raises, is killed (SIGKILL) or stopped (SIGSTOP) in batch 4 of the first epoch. `seconds` is from the fault until
torchrun and all ranks are gone; `orphans` counts processes that are left, `shm` files that are left in /dev/shm.
Restarts: torchrun --max-restarts 2, a checkpoint every three batches, one rank is killed once.
DDP: the same network and batches, ours and PyTorch's in turns, two ranks of one thread; a round is 20 steps, a ratio is taken within a round."""
import argparse, json, os, re, statistics, subprocess, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory

here = Path(__file__).resolve()

# ---- in a rank

def training(folder, fault, n_epochs=2):
    import signal, torch
    from functools import partial
    from learner_scratch.all import (SGD, Callback, CheckpointCallback, DataLoaders, GradientAccumulation, Learner, Linear, Sequential, SetupLearnerCB,
                                     accuracy, cross_entropy, set_seed)
    torch.set_num_threads(1)
    rank,count = int(os.environ.get('RANK', 0)),int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))
    g = torch.Generator().manual_seed(0)
    x = torch.randn(143, 2, generator=g)
    items = [(o, int(o.norm()>1.2)) for o in x]

    class Fails(Callback):
        order = 2000
        def after_batch(self):
            place = self.training and self.epoch==int(fault.get('epoch', 0)) and self.num==4
            if not place or rank!=1 or count: return
            (Path(folder)/'time').write_text(str(time.time()))
            if fault['kind']=='raise': raise ValueError('a broken picture')
            os.kill(os.getpid(), dict(kill=signal.SIGKILL, stop=signal.SIGSTOP)[fault['kind']])

    set_seed(42)
    dls = DataLoaders.from_dsets(items[:102], items[102:], bs=16, n_workers=fault.get('workers', 0))
    cbs = [SetupLearnerCB(torch.Tensor.double, 'cpu'), GradientAccumulation(24)]
    if fault: cbs.append(Fails())
    learn = Learner(Sequential(Linear(2, 8), Linear(8, 2)).to(torch.float64), dls, cross_entropy, .1, cbs, partial(SGD, mom=.9), metrics=accuracy)
    learn.distributed(timeout=10 if fault.get('kind')=='stop' else 120)     # it bounds the connecting, too
    if 'restart' in fault: learn.add_cb(CheckpointCallback(Path(folder)/'run', every_n_batches=3, resume=True, strict=False))
    with learn.no_logging(): learn.fit(n_epochs)
    dls.close()
    if rank: return
    weights = torch.cat([o.flatten() for o in learn.model.state_dict().values()]).tolist()
    rows = [v for row in learn.recorder.history for k,v in row.items() if k!='time']
    (Path(folder)/'result.json').write_text(json.dumps(weights + learn.recorder.losses + rows))

def ddp(folder, rounds, steps):
    "Ours and PyTorch's in turns; seconds of each round"
    import torch, torch.nn as nn, torch.nn.functional as F, torch.distributed as dist
    from functools import partial
    from torch.nn.parallel import DistributedDataParallel
    from learner_scratch.all import DataLoaders, Learner
    from learner_scratch.scale.distributed import start_group
    torch.set_num_threads(1)
    group = start_group()
    rank,world = group.rank,group.world
    def mlp(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    def conv():
        def block(ni, nf): return [nn.Conv2d(ni, nf, 3, 2, 1), nn.ReLU()]
        return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 128), *block(128, 256), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))
    found = {}
    for name,make in dict(mlp=mlp, conv=conv).items():
        torch.manual_seed(0)
        x,y = torch.randn(64, 3, 32, 32),torch.randint(10, (64,))
        torch.manual_seed(1); ours = make()
        torch.manual_seed(1); plain = make()
        theirs = DistributedDataParallel(plain)
        opt = torch.optim.SGD(theirs.parameters(), .01, momentum=.9)
        Learner.default_cbs = []
        learn = Learner(ours, DataLoaders([(x, y)]*steps, None), F.cross_entropy, .01, opt_func=partial(torch.optim.SGD, momentum=.9)).distributed()
        def fit_theirs():
            mine = x[rank::world],y[rank::world]
            for _ in range(steps):
                F.cross_entropy(theirs(mine[0]), mine[1]).backward()
                opt.step(); opt.zero_grad()
        # the optimizer of a fit begins anew: so must theirs
        times = dict(ours=[], theirs=[])
        for i in range(rounds+1):
            opt.state.clear()
            for arm,f in [('ours', lambda: learn.fit(1)), ('theirs', fit_theirs)][::1 if i%2 else -1]:
                dist.barrier()
                start = time.perf_counter(); f(); dist.barrier()
                times[arm].append(time.perf_counter()-start)
        apart = max((a-b).abs().max().item() for a,b in zip(ours.parameters(), plain.parameters()))
        ratios = [a/b for a,b in list(zip(times['ours'], times['theirs']))[1:]]
        found[name] = dict(network=name, parameters=sum(p.numel() for p in ours.parameters()), rounds=rounds, ours_ms=round(1e3*statistics.median(times['ours'][1:])/steps, 2),
                           ddp_ms=round(1e3*statistics.median(times['theirs'][1:])/steps, 2), ratio=round(statistics.median(ratios), 3),
                           least=round(min(ratios), 3), most=round(max(ratios), 3), weights_apart=apart)
    if not rank: (Path(folder)/'ddp.json').write_text(json.dumps(list(found.values())))

# ---- around them

def launch(n, job, *args, restarts=0):
    "Start ranks by torchrun; the finished process"
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(n), '--max-restarts', str(restarts), here, '--job', json.dumps([job, *args], default=str)]
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'NO_BAR': '1', 'PYTHONPATH': str(here.parents[1])}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

def left(folder):
    "Processes that still know this folder"
    found = subprocess.run(['pgrep', '-f', str(folder)], capture_output=True, text=True).stdout.split()
    return len(found)

def faults(short):
    rows = []
    for kind in ('raise', 'kill') + ('stop',)*(not short):
        with TemporaryDirectory() as tmp:
            before = set(os.listdir('/dev/shm')) if os.path.isdir('/dev/shm') else set()
            done = launch(2, 'training', tmp, dict(kind=kind, workers=1))
            seconds = time.time()-float((Path(tmp)/'time').read_text())
            says = re.findall(r'RuntimeError: (rank 0 was left alone.*)', done.stderr) or re.findall(r'(rank 0 was left alone.*)', done.stderr)
            agent = re.findall(r'rank +: 1 .*\n +exitcode +: (.*)\(pid.*\) *(.*)', done.stderr)
            by_agent = f'torchrun: rank 1, exit code {" ".join(agent[-1]).strip()}' if agent else ''
            says = [f'{says[0]} ({by_agent})' if says else f'nothing: torchrun ended it at once ({by_agent})']
            more = set(os.listdir('/dev/shm'))-before if before else set()
            rows.append(dict(fault=kind, seconds=round(seconds, 1), orphans=left(tmp), shm=len(more), failed=done.returncode!=0, says=says[0]))
        print(rows[-1], flush=True)
    return rows

def restarts(short):
    rows = []
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        def result(name): return json.loads((tmp/name/'result.json').read_text())
        (tmp/'whole').mkdir()
        launch(2, 'training', tmp/'whole', {})
        cases = [('epoch 0', 0, 2, 2), ('epoch 1', 1, 2, 2)] + [('two ranks, then three', 1, 2, 3), ('two ranks, then one', 1, 2, 1)]*(not short)
        for name,epoch,n,then in cases:
            folder = tmp/name.replace(' ', '_').replace(',', '')
            folder.mkdir()
            fault = dict(kind='kill', epoch=epoch, restart=True)
            done = launch(n, 'training', folder, fault, restarts=3 if then==n else 0)
            if then!=n: done = launch(then, 'training', folder, dict(kind='none', epoch=9, restart=True))
            if done.returncode: raise SystemExit(done.stderr[-3000:])
            apart = max(abs(a-b) for a,b in zip(result('whole'), result(folder.name), strict=True))
            rows.append(dict(killed_in=name, ranks=n, then=then, different=float(f'{apart:.1e}')))
            print(rows[-1], flush=True)
    return rows

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='*', default=['faults', 'restarts', 'ddp'])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--short', action='store_true')
    parser.add_argument('--save', action='store_true', help='write ranks.json')
    parser.add_argument('--job', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        job,*rest = json.loads(args.job)
        return dict(training=training, ddp=ddp)[job](*rest)
    from machine import facts, load
    found = dict(load=load())
    if 'faults' in args.only: found['faults'] = faults(args.short)
    if 'restarts' in args.only: found['restarts'] = restarts(args.short)
    if 'ddp' in args.only:
        with TemporaryDirectory() as tmp:
            done = launch(2, 'ddp', tmp, args.rounds, 20)
            if done.returncode: raise SystemExit(done.stderr[-3000:])
            found['ddp'] = json.loads((Path(tmp)/'ddp.json').read_text())
        for o in found['ddp']: print(o, flush=True)
    if args.save:
        path = here.with_suffix('.json')
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(known | found | dict(machine=facts(load_before=found.pop('load'))), indent=1)+'\n')
    bad = [o for o in found.get('faults', []) if o['orphans'] or o['shm'] or not o['failed'] or 'rank 1' not in o['says'] or o['seconds']>60]
    bad += [o for o in found.get('restarts', []) if o['different']>1e-6]
    print('all as it should be' if not bad else f'not as it should be: {bad}')
    raise SystemExit(bool(bad))

if __name__=='__main__': main()
