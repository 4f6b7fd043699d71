"""Trainings that are killed, and go on: is the end the same, bit for bit?

    python benchmarks/survive.py                    # everything, about 15 minutes; writes benchmarks/survive.json
    python benchmarks/survive.py --kills 3 --only sgd cache --damaged 200       # the short form, as .ci/run has it

Each training is a process of its own: 400 digits, three epochs, a small network with batch normalisation, batches of 16, a checkpoint every three
batches. It's killed by SIGKILL, started again by the same line, and killed again, until it ends. Its weights, history, losses and rates
have one SHA-256, which must be that of the training that nobody killed. For each kind of training: kills after random batches, with another
number of workers at each start; and a kill at each step of a save, before and after writing, syncing and renaming. Then checkpoints are truncated
and bits of them flipped, in every region: each must be refused, or the one before it taken."""
import argparse, json, os, random, signal, subprocess, sys, time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

here = Path(__file__).resolve()
kinds = 'sgd adam muon ema fp16 bf16 accumulation mixup cache skip one_cycle'.split()

# ---- the training

def train(kind, folder, workers, kill_batch, kill_at):
    from functools import partial
    from learner_scratch.all import (Adam, Callback, DataLoaders, Dataset, EMACallback, GradientAccumulation, Learner, MixUp, Normalize, SGD,
                                     SetupLearnerCB, Sequential, ConvNorm, AdaptivePool, Linear, URLs, accuracy, channels_first, cross_entropy,
                                     get_image_files, parent_label, set_seed, untar_data)
    from learner_scratch.train.muon import Muon
    from learner_scratch.use.checkpoints import CheckpointCallback
    import torch
    torch.set_num_threads(1)
    files = get_image_files(untar_data(URLs.DIGITETTE)/'train')[::5]
    v2i = {k: i for i,k in enumerate(sorted({parent_label(o) for o in files}))}
    if kind=='skip': files[7] = files[7].with_name('missing.jpg')

    class Kills(Callback):
        "SIGKILL after so many batches"
        order = 2000
        def __init__(self): self.left = kill_batch
        def after_batch(self):
            if not self.training or self.left is None: return
            self.left -= 1
            if self.left<=0: os.kill(os.getpid(), signal.SIGKILL)

    if kill_at:     # such as replace:before:2
        name,when,n = kill_at.split(':')
        real,calls = getattr(os, name),[int(n)]
        def dies(*args, **kwargs):
            calls[0] -= 1
            if not calls[0] and when=='before': os.kill(os.getpid(), signal.SIGKILL)
            res = real(*args, **kwargs)
            if not calls[0]: os.kill(os.getpid(), signal.SIGKILL)
            return res
        setattr(os, name, dies)
    set_seed(42)
    dss = Dataset(files, v2i, 32),Dataset(files[:80], v2i, 32)
    dls = DataLoaders.from_dsets(*dss, bs=16, n_workers=workers, cache=kind=='cache', on_error='skip' if kind=='skip' else 'raise')
    norm = Normalize([[.5]*3, [.25]*3])
    cbs = dict(ema=[EMACallback(.9)], accumulation=[GradientAccumulation(40)], mixup=[MixUp(.4)]).get(kind, [])
    opt = dict(adam=Adam, muon=partial(Muon, mom=.6, keep_norm=True)).get(kind, partial(SGD, mom=.9))
    model = Sequential(ConvNorm(3, 8, 2), ConvNorm(8, 16, 2), AdaptivePool(), Linear(16, 10))
    learn = Learner(model, dls, cross_entropy, .02, [SetupLearnerCB(lambda x: channels_first(norm(x)), 'cpu'), *cbs], opt_func=opt, metrics=accuracy)
    if kind in ('fp16', 'bf16'): getattr(learn, f'to_{kind}')()
    extra = [CheckpointCallback(folder, every_n_batches=3, resume=True), Kills()]
    import warnings
    with learn.no_logging(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        if kind=='one_cycle': learn.fit_one_cycle(3, .05, cbs=extra)
        else: learn.fit(3, cbs=extra)
    found,rec = sha256(),learn.recorder
    for k,v in learn.model.state_dict().items(): found.update(k.encode()+v.contiguous().numpy().tobytes())
    rows = [{k: v for k,v in o.items() if k!='time'} for o in rec.history]
    found.update(repr((rows, rec.losses, rec.lrs)).encode())
    dls.close()
    print('RESULT', found.hexdigest())

# ---- kills

def start(kind, folder, workers, kill_batch=None, kill_at=None):
    "The result, or None if it was killed"
    args = [sys.executable, here, '--child', json.dumps([kind, str(folder), workers, kill_batch, kill_at])]
    env = {**os.environ, 'NO_BAR': '1', 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(here.parents[1])}
    done = subprocess.run(args, capture_output=True, text=True, env=env, timeout=300)
    if done.returncode==-signal.SIGKILL: return None
    if done.returncode: raise SystemExit(f'{kind}: {done.stderr[-2000:]}')
    return done.stdout.split()[-1]

def survives(kind, n_kills, rng, steps):
    "Compare with the training that nobody kills"
    with TemporaryDirectory() as tmp:
        want = start(kind, Path(tmp)/'whole', 1)
        kills = wrong = 0
        while kills<n_kills:
            folder,got = Path(tmp)/f'run-{kills}',None
            while got is None:
                more = rng.randint(1, 60) if kills<n_kills else None
                got = start(kind, folder, rng.choice([0, 1, 2]), more)
                kills += got is None
            wrong += got!=want
        for step in steps:
            folder = Path(tmp)/step.replace(':', '-')
            killed = start(kind, folder, 0, None, step) is None
            kills += killed
            wrong += start(kind, folder, 1)!=want
    row = dict(kind=kind, kills=kills, different=wrong)
    print(row, flush=True)
    return row

def damaged(n, rng):
    "Truncate checkpoints and flip bits in them; all must be refused, or the one before taken"
    from learner_scratch.use.checkpoints import checkpoint_files, read_checkpoint
    import warnings
    with TemporaryDirectory() as tmp:
        start('adam', tmp, 0)
        data = checkpoint_files(tmp)[-1].read_bytes()
        refused,path = 0,Path(tmp)/'checkpoint-99999999.safetensors'
        for i in range(n):
            changed = bytearray(data)
            if i%4==0: changed = changed[:rng.randrange(len(data))]
            else:
                place = rng.randrange(200) if i%4==1 else rng.randrange(len(data))
                changed[place] ^= 1<<rng.randrange(8)
            path.write_bytes(changed)
            try: read_checkpoint(path)
            except (ValueError, OSError): refused += 1
    row = dict(damaged=n, refused=refused)
    print(row, flush=True)
    return row

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=10, help='for each kind of training')
    parser.add_argument('--only', nargs='*', default=kinds)
    parser.add_argument('--damaged', type=int, default=10_000)
    parser.add_argument('--save', action='store_true', help='write survive.json')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child: return train(*json.loads(args.child))
    from machine import facts
    rng = random.Random(0)
    # each checkpoint has fsync of the file, replace, fsync of the folder
    steps = [f'{name}:{when}:{n}' for n in (2, 5) for name in ('fsync', 'replace') for when in ('before', 'after')]
    rows = [survives(kind, args.kills, rng, steps) for kind in args.only]
    spoiled = damaged(args.damaged, rng)
    if args.save: here.with_suffix('.json').write_text(json.dumps(dict(rows=rows, damaged=spoiled, machine=facts()), indent=1)+'\n')
    bad = sum(o['different'] for o in rows) + spoiled['damaged']-spoiled['refused']
    print('all the same' if not bad else f'{bad} differ')
    raise SystemExit(bool(bad))

if __name__=='__main__': main()
