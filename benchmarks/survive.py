"""Trainings that are killed, and go on: is the end the same, bit for bit?

    python benchmarks/survive.py --save             # everything, about an hour; writes benchmarks/survive.json
    python benchmarks/survive.py --kills 2 --only sgd --damaged 200 --short     # the short form, as .ci/run has it

Each training is a process of its own: 400 digits, three epochs, a small network with batch normalisation, batches of 16, a checkpoint every three
batches. It's killed by SIGKILL, started again by the same line, and killed again, until it ends. Its weights, history, losses and rates
have one SHA-256, which must be that of the training that nobody killed. For each kind of training: kills after random batches, with another
number of workers at each start; and a kill at each step of a save, before and after writing, syncing and renaming. Then checkpoints are truncated
and bits of them flipped, in every region: each must be refused, or the one before it taken. At last: a disk that is full in the middle of a
training (a small tmpfs, where this may mount one), a second process that writes into the same folder, a folder that is a file,
and 10,000 epochs of a tiny fit with two workers in one process."""
import argparse, json, os, random, signal, subprocess, sys, time
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

here = Path(__file__).resolve()
kinds = 'sgd adam muon ema fp16 bf16 accumulation mixup cache skip one_cycle'.split()

# ---- the training

def train(kind, folder, workers, kill_batch, kill_at, keep_last=2):
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
    extra = [CheckpointCallback(folder, every_n_batches=3, keep_last=keep_last, resume=True), Kills()]
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

def child(*args):
    "Run `train`, or another function of this file, in a process of its own"
    args = [sys.executable, here, '--child', json.dumps(args, default=str)]
    env = {**os.environ, 'NO_BAR': '1', 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(here.parents[1])}
    return subprocess.run(args, capture_output=True, text=True, env=env, timeout=1800)

def start(kind, folder, workers, kill_batch=None, kill_at=None, keep_last=2):
    "The result, or None if it was killed"
    done = child(kind, folder, workers, kill_batch, kill_at, keep_last)
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
    from learner_scratch.use.files import sum_of, to_json
    def content(path):
        "All values of a checkpoint; a digit too many of a float is no other value"
        found,tensors = read_checkpoint(path),{}
        python,(kind,array,*rest),*others = found['state']['random']
        found['state']['random'] = python, (kind, array.tolist(), *rest), *others
        text = repr(to_json({k: found[k] for k in ('state', 'run', 'epoch', 'step')}, tensors))
        return text, {k: sum_of(x) for k,x in tensors.items()}
    with TemporaryDirectory() as tmp:
        start('adam', tmp, 0)
        data,want = checkpoint_files(tmp)[-1].read_bytes(),content(checkpoint_files(tmp)[-1])
        refused,harmless,path = 0,0,Path(tmp)/'checkpoint-99999999.safetensors'
        for i in range(n):
            changed = bytearray(data)
            if i%4==0: changed = changed[:rng.randrange(len(data))]
            else:
                place = rng.randrange(200) if i%4==1 else rng.randrange(len(data))
                changed[place] ^= 1<<rng.randrange(8)
            path.write_bytes(changed)
            try: harmless += content(path)==want
            except (ValueError, OSError): refused += 1
    row = dict(damaged=n, refused=refused, harmless=harmless, wrong=n-refused-harmless)
    print(row, flush=True)
    return row

# ---- other harm

def full_disk():
    "A training whose disk is full; and goes on where there's room"
    import shutil
    with TemporaryDirectory() as tmp:
        disk,room = Path(tmp)/'disk',Path(tmp)/'room'
        disk.mkdir()
        mount = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', disk], capture_output=True)
        if mount.returncode: return dict(full_disk='no tmpfs could be mounted here')
        try:
            done = child('sgd', disk/'run', 1, None, None, 1000)
            line = next((o for o in done.stderr.splitlines()[::-1] if 'Error' in o), '')
            kept = len(list((disk/'run').glob('checkpoint-*')))
            shutil.copytree(disk/'run', room)
        finally: subprocess.run(['umount', disk])
        same = start('sgd', room, 1)==start('sgd', Path(tmp)/'whole', 1)
    return dict(full_disk=line, checkpoints=kept, same=same)

def one_line(*args):
    "The error that ends a child"
    done = child(*args)
    return next((o for o in done.stderr.splitlines()[::-1] if 'Error' in o), f'none, exit {done.returncode}')

def refusals():
    "A second writer, and a folder that is a file"
    from learner_scratch.use.checkpoints import only_writer
    with TemporaryDirectory() as tmp:
        tmp = Path(tmp)
        with only_writer(tmp/'run'): second = one_line('sgd', tmp/'run', 0, None, None)
        (tmp/'file').touch()
        return dict(second_writer=second.replace(str(tmp), '…'), file_for_folder=one_line('sgd', tmp/'file', 0, None, None).replace(str(tmp), '…'))

def many_epochs(n):
    "A tiny fit with two workers: memory in MB, open files and processes after a tenth, half and all of the epochs"
    import psutil, torch
    from learner_scratch.all import Callback, DataLoaders, Learner, Linear, SetupLearnerCB, cross_entropy
    torch.set_num_threads(1)
    items = [(torch.randn(2), i%2) for i in range(8)]
    me,found = psutil.Process(),[]
    class Looks(Callback):
        def after_epoch(self):
            if self.training or self.epoch+1 not in (n//10, n//2, n): return
            found.append(dict(epoch=self.epoch+1, MB=round(me.memory_info().rss/2**20, 1), files=me.num_fds(), processes=len(me.children())))
    learn = Learner(Linear(2, 2), DataLoaders.from_dsets(items, items, bs=4, n_workers=2), cross_entropy, .1, [SetupLearnerCB(device='cpu'), Looks()])
    start = time.time()
    with learn.no_logging(): learn.fit(n)
    learn.dls.close()
    print('RESULT', json.dumps(dict(seconds=round(time.time()-start), rows=found, left=len(me.children()))))

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=10, help='for each kind of training')
    parser.add_argument('--only', nargs='*', default=kinds)
    parser.add_argument('--damaged', type=int, default=10_000)
    parser.add_argument('--short', action='store_true', help='without the full disk and the many epochs')
    parser.add_argument('--save', action='store_true', help='write survive.json')
    parser.add_argument('--child', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        kind,*rest = json.loads(args.child)
        return many_epochs(*rest) if kind=='many_epochs' else train(kind, *rest)
    from machine import facts
    rng = random.Random(0)
    # each checkpoint has fsync of the file, replace, fsync of the folder
    steps = [f'{name}:{when}:{n}' for n in (2, 5) for name in ('fsync', 'replace') for when in ('before', 'after')]
    rows = [survives(kind, args.kills, rng, steps) for kind in args.only]
    spoiled,more = damaged(args.damaged, rng),refusals()
    if not args.short:
        done = child('many_epochs', 10_000)
        more |= full_disk() | dict(many_epochs=json.loads(done.stdout.split('RESULT ')[-1]))
    print(more, flush=True)
    if args.save: here.with_suffix('.json').write_text(json.dumps(dict(rows=rows, damaged=spoiled, **more, machine=facts()), indent=1)+'\n')
    bad = sum(o['different'] for o in rows) + spoiled['wrong'] + ('writing into' not in more['second_writer'])
    bad += not more.get('same', True)
    print('all the same' if not bad else f'{bad} differ')
    raise SystemExit(bool(bad))

if __name__=='__main__': main()
