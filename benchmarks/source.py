"""Threads or processes: who should read the pictures?

    python benchmarks/source.py [--rounds 3] [--python NAME=/path/to/python …]

Imagenette, 160 px read at 64, batches of 128. Three sources make the same batches: `processes`, our default; `threads` of this process,
which need no transport and no fork, but share one interpreter lock; `here`, without workers. Three loads: `read` is nothing but the
loader; `train` is an epoch of the ladder's ResNet-8 in bfloat16 (full size, no cache), fed by it; `python` is the loader with an
`item_tfms` that computes in Python for a millisecond or so. Each on 1 core with 1 worker, 2 with 2, and 4 workers on all cores that there
are (`taskset` can take cores away, not add them). Every figure is from a process of its own, the arms take turns; images per second of
the second epoch (of a fifth of the pictures, where something else takes the time), medians over the rounds. Run it on an idle machine. Writes benchmarks/source.json."""
import argparse, json, os, platform, statistics, subprocess, sys, time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from machine import facts, load

here = Path(__file__).resolve()
size,bs = 64,128

def slow_python(x):
    "A transform that holds the interpreter"
    total = 0
    for i in range(20_000): total += i*i%7
    return x

def with_threads(source, n):
    "`source` answered by `n` threads; batches in order, two waiting for each thread"
    pool = ThreadPoolExecutor(n)
    def answers(seed, batches, take):
        job,order,waiting = source.job(),iter(batches),deque()
        def submit(k): waiting.extend(pool.submit(job, seed, o) for o in islice(order, k))
        submit(2*n+1)
        while waiting:
            idxs,batch,errors = waiting.popleft().result()
            submit(1)
            yield idxs, take(batch), errors
    source.answers = answers
    # random numbers that belong to an item would need a generator for each thread: the seeding is left out, for the threads' good
    from learner_scratch.support import loading
    made = source.job
    source.job = lambda: loading.partial(made(), seeded=False)

def measure(kind, load, n_workers):
    import torch
    from learner_scratch.all import (DataLoader, DataLoaders, Dataset, Learner, Normalize, SGD, SetupLearnerCB, URLs, channels_first,
                                     cross_entropy, get_image_files, parent_label, resnet8, untar_data)
    files = get_image_files(untar_data(URLs.IMAGENETTE_160)/'train')
    if load!='read': files = files[::5]
    ds = Dataset(files, files.map(parent_label).unique().val2idx(), size)
    dl = DataLoader(ds, bs, shuffle=True, n_workers=n_workers if kind=='processes' else 0, item_tfms=[slow_python]*(load=='python'))
    if load!='train': torch.set_num_threads(1)
    else: torch.set_num_threads(min(n_workers, len(os.sched_getaffinity(0))))
    if kind=='threads': with_threads(dl.source, n_workers)
    def read():
        for xb,yb in dl: pass
    if load=='train':
        norm = Normalize([[.465, .457, .430], [.274, .269, .292]])
        model = resnet8(10).to(memory_format=torch.channels_last)
        learn = Learner(model, DataLoaders(dl, None), cross_entropy, .01, [SetupLearnerCB(lambda x: channels_first(norm(x)), 'cpu')],
                        opt_func=SGD).to_bf16()
        def read():
            with learn.no_logging(): learn.fit(1)
    read()
    start = time.perf_counter()
    read()
    print(len(ds)/(time.perf_counter()-start))
    dl.close()

def run(python, kind, load, cores, n_workers):
    args = ['taskset', '-c', ','.join(map(str, cores)), python, here, '--one', kind, load, str(n_workers)]
    env = {**os.environ, 'NO_BAR': '1', 'PYTHONPATH': str(here.parents[1]), 'OMP_WAIT_POLICY': 'PASSIVE'}
    return float(subprocess.run(args, env=env, capture_output=True, text=True, check=True).stdout.split()[-1])

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--python', nargs='*', default=[], help='more interpreters, with the package\'s requirements: NAME=PATH')
    parser.add_argument('--one', nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one: return measure(*args.one[:2], int(args.one[2]))
    cores = sorted(os.sched_getaffinity(0))
    load_before,rows = load(),[]
    pythons = {platform.python_version(): sys.executable, **dict(o.split('=') for o in args.python)}
    for name,python in pythons.items():
        for some,n_workers in ((cores[:1], 1), (cores[:2], 2), (cores, 4)):
            for what in ('read', 'train', 'python'):
                rates = {'processes': [], 'threads': [], 'here': []}
                for r in range(args.rounds):
                    for kind in list(rates)[::-1 if r%2 else 1]: rates[kind].append(run(python, kind, what, some, n_workers))
                ratio = statistics.median(a/b for a,b in zip(rates['threads'], rates['processes']))
                rows.append(dict(python=name, cores=len(some), workers=n_workers, load=what, threads_to_processes=round(ratio, 2),
                                 **{k: round(statistics.median(v)) for k,v in rates.items()}))
                print(rows[-1], flush=True)
    machine = facts(rounds=args.rounds, load_before=load_before)
    text = ',\n  '.join(json.dumps(o) for o in rows)
    here.with_suffix('.json').write_text(f'{{"machine": {json.dumps(machine)}, "rows": [\n  {text}]}}\n')

if __name__=='__main__': main()
