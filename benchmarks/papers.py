"""Two papers, each against what it would replace, in pairs of trainings with the same seed.

    python benchmarks/papers.py flip --seeds 6          # no flip, random flip, alternating flip
    python benchmarks/papers.py decay --seeds 6         # SGD: decoupled and cautious decay
    python benchmarks/papers.py decay --seeds 6 --wds 0 .1     # other weight decays; 0 is none at all
    python benchmarks/papers.py adam --seeds 6          # the same with Adam: not on the page
    python benchmarks/papers.py flip --seeds 2 --epochs 1 --threads 1 --out /tmp/papers.json

Imagenette at 64 px, batches of 128, one cycle, `recipe` below. The arms of a seed start from the same weights and see the
items in the same order; each row has a checksum of both. Writes benchmarks/papers.json after each training, and passes over
what is there already, so an interrupted run goes on. Rows of other settings are refused, unless --restart drops them."""
import argparse, json, os, platform, statistics, time
from dataclasses import replace
from pathlib import Path
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
from learner_scratch.all import *
from learner_scratch.research.ladder import recipe_learner, recipes
from learner_scratch.research.papers import AlternatingFlip, CautiousAdam, CautiousSGD
from learner_scratch.support.stats import paired_test

results = Path(__file__).with_suffix('.json')
size,bs = 64,128
stats = [.465, .457, .430],[.274, .269, .292]     # of Imagenette, in [0,1]
recipe_name = "the ladder's label_smoothing without its flips: resnet10, pictures that grow to 64 pixels, bfloat16"

def recipe(dls, opt_func, wd, epochs, lr, cbs):
    "The learner that every arm trains: our own layers, and the same choices but for the arm's"
    learn = recipe_learner(replace(recipes['label_smoothing'], epochs=epochs, lr=lr, flip=False), dls, Normalize(stats), 'cpu', cbs)
    learn.opt_func,learn.wd,learn.metrics = opt_func,wd,accuracy
    return learn

# ---- the arms: what the loader does to a batch, callbacks, and the optimizer

decoupled = partial(SGD, mom=.9, decouple_wd=True)
def plain(opt_func): return lambda seed: dict(opt_func=opt_func)
experiments = dict(
    decay=dict(lr=.3, wds=[.02], arms=dict(decay=plain(decoupled), cautious=plain(partial(CautiousSGD, mom=.9)))),
    adam=dict(lr=.003, wds=[.3], arms=dict(decay=plain(Adam), cautious=plain(CautiousAdam))),
    flip=dict(lr=.3, wds=[.005], arms={
        'no flip': plain(decoupled),
        'random flip': lambda seed: dict(opt_func=decoupled, batch_tfms=[Flip()]),
        'alternating flip': lambda seed: dict(opt_func=decoupled, cbs=[AlternatingFlip(seed)])}))

class ValidateLast(Callback):
    "Validation after the last epoch only, to save time"
    def before_epoch(self):
        if not self.training and self.epoch<self.n_epochs-1: raise CancelEpochException()

class Start(Callback):
    "Checksums of what the arms of a seed must share: the first weights, and the order of the items"
    def before_fit(self): self.weights,self.order = sum(p.double().sum().item() for p in self.model.parameters()),0

    def before_batch(self):
        if not self.training: return
        labels = self.batch[-1]
        self.order = (31*self.order + int((labels*torch.arange(len(labels))).sum())) % 2**31

def train(dls, arm, seed, epochs, lr, wd):
    "One training, as a row"
    parts = dict(batch_tfms=[], cbs=[]) | arm(seed)
    dls.train.delivery.batch_tfms = L(parts['batch_tfms'])
    set_seed(seed)
    start,began = Start(),time.perf_counter()
    learn = recipe(dls, parts['opt_func'], wd, epochs, lr, [start, ValidateLast(), *parts['cbs']])
    with learn.no_logging(): learn.fit(epochs)
    last = learn.recorder.history[-1]
    norm = sum(p.detach().pow(2).sum().item() for p in learn.model.parameters() if p.ndim>1)**.5
    row = {k: round(last[k], 5) for k in ('train_loss', 'train_accuracy', 'valid_loss', 'valid_accuracy')}
    return dict(**row, norm=round(norm, 3), seconds=round(time.perf_counter()-began, 1),
                weights=round(start.weights, 6), order=start.order)

# ---- the file

def save(res, out):
    "Write all of it or nothing"
    part = out.with_suffix('.part')
    part.write_text(json.dumps(res, indent=1)+'\n')
    part.replace(out)

def machine():
    info = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    cpu = next((o.split(':')[1].strip() for o in info if o.startswith('model name')), platform.machine())
    return dict(cpu=cpu, cores=os.cpu_count(), python=platform.python_version(), torch=torch.__version__,
                threads=torch.get_num_threads(), system=platform.platform(),
                load_at_start=round(os.getloadavg()[0], 2), date=time.strftime('%Y-%m-%d'))

def told(xs): return f'{statistics.mean(xs):.2f} ± {statistics.stdev(xs):.2f}' if len(xs)>1 else f'{xs[0]:.2f}'

def show(rows):
    "Each arm, and each against the first of its weight decay, in percent"
    for wd in sorted({o['wd'] for o in rows}):
        arms = {}
        for o in rows:
            if o['wd']==wd: arms.setdefault(o['arm'], {})[o['seed']] = 100*o['valid_accuracy']
        first = next(iter(arms.values()))
        for arm,accs in arms.items():
            seeds = sorted(set(first) & set(accs))
            line = f'wd {wd:<5} {arm:17} n={len(accs):<3} {told(list(accs.values()))} %'
            if accs is not first and len(seeds)>1:
                o = paired_test([first[s] for s in seeds], [accs[s] for s in seeds])
                line += f"; against the first, in pairs: {o['mean']:+.2f} ({o['low']:+.2f} to {o['high']:+.2f}), p {o['p']:.3f}"
            print(line)

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('experiment', choices=experiments)
    parser.add_argument('--seeds', type=int, default=10)
    parser.add_argument('--epochs', type=int, default=8)
    parser.add_argument('--wds', type=float, nargs='+', help='weight decays; the default is the experiment\'s own')
    parser.add_argument('--arms', nargs='+', help='these only')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, default=results)
    parser.add_argument('--restart', action='store_true', help='drop the rows of this experiment')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    plan = experiments[args.experiment]
    settings = dict(recipe=recipe_name, size=size, bs=bs, epochs=args.epochs, lr=plan['lr'])
    res = json.loads(args.out.read_text()) if args.out.exists() else {}
    mine = res.get(args.experiment)
    if mine and not args.restart and mine['settings']!=settings:
        raise SystemExit(f"{args.out} has {len(mine['rows'])} rows of other settings:\n{mine['settings']}\n{settings}\n"
                         'Give --out another file, or --restart to drop them.')
    if not mine or args.restart: mine = res[args.experiment] = dict(settings=settings, rows=[])
    rows,res['machine'] = mine['rows'],machine()
    done = {(o['arm'], o['wd'], o['seed']) for o in rows}
    dls = DataLoaders.from_folder(untar_data(URLs.IMAGENETTE_160), size=size, bs=bs, cache=True, n_workers=1)
    for seed in range(args.seeds):
        for wd in args.wds or plan['wds']:
            arms = plan['arms'] if wd or args.experiment=='flip' else dict(none=plan['arms']['decay'])
            for arm,make in arms.items():
                if (arm, wd, seed) in done or arm not in (args.arms or arms): continue
                row = train(dls, make, seed, args.epochs, plan['lr'], wd)
                rows.append(dict(arm=arm, wd=wd, seed=seed, threads=args.threads, **row))
                save(res, args.out)
                print(f"seed {seed}, wd {wd}, {arm:17} {100*row['valid_accuracy']:.2f} % valid, "
                      f"{100*row['train_accuracy']:.2f} % train, {row['seconds']:.0f} s", flush=True)
    dls.close()
    for seed in {o['seed'] for o in rows}:
        same = {(o['weights'], o['order']) for o in rows if o['seed']==seed}
        if len(same)>1: raise SystemExit(f'the arms of seed {seed} began differently: {same}')
    show(rows)

if __name__=='__main__': main()
