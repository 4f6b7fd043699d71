"""What nobody could measure here: the same checks on a GPU. About ten minutes; writes benchmarks/gpu.json, which scale/speed reads.

    python benchmarks/gpu.py --save
    python benchmarks/gpu.py --device cpu --quick       # does the script run at all?

`step`     milliseconds of a training step, ours (the whole Learner, loss and accuracy tracked) and plain PyTorch's, in turns; peak memory of each
`no_sync`  the same step with torch.cuda.set_sync_debug_mode('error'): a step that waits for the device is an error
`resume`   a training with dropout on the device, cut in the middle of an epoch and resumed: equal to the last bit?
`loader`   pictures a second from the disk to the device, by DataLoader; and training on them at the same time
`command`  scratch_train --device cuda --compile on Digitette: does it end, and with what accuracy
`ranks`    two ranks over nccl, if there are two GPUs: largest distance of the weights from one rank's"""
import argparse, json, os, statistics, subprocess, sys, time, warnings
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
import torch, torch.nn.functional as F
from machine import facts

here = Path(__file__).resolve()

def synced(device):
    if device.type=='cuda': torch.cuda.synchronize(device)

def batches(device, bs, px, n):
    g = torch.Generator().manual_seed(0)
    x,y = torch.randn(bs, 3, px, px, generator=g),torch.randint(10, (bs,), generator=g)
    return [(x.to(device).to(memory_format=torch.channels_last), y.to(device))]*n

def ours(device, data, precision, compiled):
    from learner_scratch.all import DataLoaders, Learner, SGD, SetupLearnerCB, accuracy, cross_entropy, resnet18, set_seed
    from learner_scratch.scale.compile import Compile
    set_seed(0)
    model = resnet18().to(device).to(memory_format=torch.channels_last)
    learn = Learner(model, DataLoaders(data, None), F.cross_entropy, .01, SetupLearnerCB(device=device), partial(SGD, mom=.9), metrics=accuracy)
    if precision=='bf16': learn.to_bf16()
    if compiled: learn.add_cb(Compile())
    def run():
        with learn.no_logging(): learn.fit(1)
    return run

def plain(device, data, precision, compiled):
    from learner_scratch.all import resnet18
    from learner_scratch.use.to_torch import to_torch
    torch.manual_seed(0)
    model = to_torch(resnet18()).to(device).to(memory_format=torch.channels_last)
    if compiled: model.compile()
    opt = torch.optim.SGD(model.parameters(), .01, momentum=.9)
    def run():
        for x,y in data:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision=='bf16'): preds = model(x)
            F.cross_entropy(preds.float(), y).backward()
            opt.step(); opt.zero_grad()
    return run

def step(device, quick):
    rows = []
    n = 3 if quick else 30
    for px,bs in ((64, 128), (224, 64)) if not quick else ((32, 8),):
        for precision in ('fp32', 'bf16'):
            for compiled in (False, True)[:1 if quick else 2]:
                data,arms,times,memory = batches(device, bs, px, n),{},{},{}
                for name,make in dict(ours=ours, plain=plain).items(): arms[name] = make(device, data, precision, compiled)
                for i in range(2 if quick else 6):
                    for name in list(arms)[::1 if i%2 else -1]:
                        if device.type=='cuda': torch.cuda.reset_peak_memory_stats(device)
                        synced(device); start = time.perf_counter()
                        arms[name]()
                        synced(device)
                        times.setdefault(name, []).append(time.perf_counter()-start)
                        if device.type=='cuda': memory[name] = torch.cuda.max_memory_allocated(device)/2**20
                ratio = statistics.median(a/b for a,b in zip(times['ours'][1:], times['plain'][1:]))
                rows.append(dict(px=px, bs=bs, precision=precision, compiled=compiled, **{f'{k}_ms': round(1e3*statistics.median(v[1:])/n, 3) for k,v in times.items()},
                                 ratio=round(ratio, 3), **{f'{k}_MB': round(v) for k,v in memory.items()}))
                print(rows[-1], flush=True)
    return rows

def no_sync(device, quick):
    if device.type!='cuda': return 'needs CUDA'
    data = batches(device, 32, 64, 10)
    run = ours(device, data, 'bf16', False)
    run()
    from learner_scratch.all import Callback, Learner
    class Strict(Callback):
        "From the second to the last batch"
        order = 3000
        def after_batch(self): torch.cuda.set_sync_debug_mode('error' if self.num<8 else 'default')
    was = Learner.default_cbs
    Learner.default_cbs = [*was, Strict]
    try: ours(device, data, 'bf16', False)()
    except RuntimeError as e: return str(e)[:300]
    finally: Learner.default_cbs = was; torch.cuda.set_sync_debug_mode('default')
    return 'no wait in a step'

def resume(device, quick):
    import torch.nn as nn
    from learner_scratch.all import Callback, CheckpointCallback, DataLoaders, Learner, SGD, SetupLearnerCB, set_seed
    g = torch.Generator().manual_seed(0)
    items = [(torch.randn(8, generator=g), i%2) for i in range(100)]
    class Dies(Callback):
        order = 2000
        def __init__(self, n): self.left = n
        def after_batch(self):
            self.left -= self.training
            if not self.left: raise KeyError('cut')
    def trained(*cbs):
        set_seed(42)
        model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(.3), nn.Linear(32, 2))
        learn = Learner(model, DataLoaders.from_dsets(items, items, bs=10, n_workers=0), F.cross_entropy, .1, [SetupLearnerCB(device=device), *cbs], partial(SGD, mom=.9))
        with learn.no_logging(): learn.fit(3)
        return torch.cat([p.detach().flatten() for p in learn.model.parameters()])
    with TemporaryDirectory() as tmp:
        whole = trained(Dies(0))
        try: trained(CheckpointCallback(tmp, every_n_batches=1), Dies(17))
        except KeyError: pass
        return 'same' if torch.equal(trained(CheckpointCallback(tmp, every_n_batches=1, resume=True), Dies(0)), whole) else 'differs'

def loader(device, quick):
    from learner_scratch.all import DataLoaders, URLs, untar_data
    dls = DataLoaders.from_folder(untar_data(URLs.DIGITETTE), size=64, bs=128)
    dls.train.delivery.device = device
    rates = []
    for _ in range(4):
        start = time.perf_counter()
        n = sum(len(x) for x,_ in dls.train)
        synced(device)
        rates.append(n/(time.perf_counter()-start))
    dls.close()
    return dict(pictures_a_second=round(statistics.median(rates[1:])))

def command(device, quick):
    with TemporaryDirectory() as tmp:
        args = [sys.executable, '-c', 'from learner_scratch.cli import scratch_train; import sys; scratch_train(**eval(sys.argv[1]))',
                repr(dict(device=str(device), compile=not quick, epochs=1 if quick else 15, out=f'{tmp}/run'))]
        start = time.time()
        done = subprocess.run(args, capture_output=True, text=True)
        return dict(seconds=round(time.time()-start, 1), says=(done.stdout.splitlines() or [done.stderr[-300:]])[-1].split(' The results')[0], warnings=done.stderr[-300:])

def ranks(device, quick):
    if device.type!='cuda' or torch.cuda.device_count()<2: return 'needs two GPUs'
    script = f'''import os, torch, sys
sys.path.insert(0, {str(here.parents[1])!r})
from learner_scratch.all import *
def go(shared):
    set_seed(0)
    g = torch.Generator().manual_seed(0)
    items = [(torch.randn(20, generator=g), i%2) for i in range(102)]
    learn = Learner(Sequential(Linear(20, 64), Linear(64, 2)), DataLoaders.from_dsets(items, items, bs=16, n_workers=0), cross_entropy, .1)
    if shared: learn.distributed()
    with learn.no_logging(): learn.fit(2)
    return torch.cat([p.detach().flatten().cpu() for p in learn.model.parameters()])
alone = go(False); together = go(True)
if os.environ['RANK']=='0': print('APART', (alone-together).abs().max().item())'''
    with TemporaryDirectory() as tmp:
        (Path(tmp)/'s.py').write_text(script)
        done = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2', f'{tmp}/s.py'], capture_output=True, text=True)
        return done.stdout.split('APART ')[-1].strip() or done.stderr[-500:]

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--quick', action='store_true', help='smallest sizes, once')
    parser.add_argument('--save', action='store_true', help='write gpu.json')
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type=='cuda' and not torch.cuda.is_available(): raise SystemExit('there is no CUDA GPU here: --device cpu --quick only tries the script')
    sys.path.insert(0, str(here.parents[1]))
    warnings.simplefilter('ignore')
    found = {}
    for f in (step, no_sync, resume, loader, command, ranks):
        try: found[f.__name__] = f(device, args.quick)
        except Exception as e: found[f.__name__] = f'{type(e).__name__}: {e}'
        print(f.__name__, found[f.__name__], flush=True)
    name = torch.cuda.get_device_name(device) if device.type=='cuda' else str(device)
    if args.save: here.with_suffix('.json').write_text(json.dumps(found | dict(device=name, machine=facts()), indent=1)+'\n')

if __name__=='__main__': main()
