"""How fast pictures reach a training loop: our loader, PyTorch's, fastai's, SPDL's, DALI's, datago's, and what decoding alone would allow.

    python benchmarks/loader.py                      # everything, about 15 minutes; writes benchmarks/loader.json and prints the table
    python benchmarks/loader.py --rounds 1 --part speed
    python benchmarks/loader.py --fastai /path/to/python      # an interpreter that has fastai, if this one has not
    python benchmarks/loader.py --peers DIR          # where SPDL, DALI and datago are, if they aren't installed

Imagenette at 160 px becomes 64 px, batches of 128, two workers. Every arm is a process of its own, the arms take turns, and a figure
is the median over the rounds. Run it on an idle machine: two workers and the loop want two cores to themselves. What can't be imported is left out, and a line says so:

    pip install --target DIR --no-deps spdl spdl-core spdl-io datago nvidia-dali-cuda120 nvidia-nvimgcodec-cu12 optree gast astunparse dm-tree"""
import argparse, json, os, statistics, subprocess, sys, time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from machine import facts, load

size,bs,n_workers = 64,128,2
here = Path(__file__).resolve()
results = here.with_suffix('.json')

def files(split='train'):
    from learner_scratch.support.images import get_image_files
    from learner_scratch.support.datasets import URLs, untar_data
    return [str(o) for o in get_image_files(untar_data(URLs.IMAGENETTE_160)/split)]

def vocab(fns): return {o: i for i,o in enumerate(sorted({Path(f).parent.name for f in fns}))}

# ---- decoding alone

def decode(fns, draft):
    from PIL import Image
    for fn in fns:
        with Image.open(fn) as im:
            if draft: im.draft(None, (size, size))
            im.convert('RGB').resize((size, size), Image.Resampling.BICUBIC)
    return len(fns)

def decode_alone(draft):
    import multiprocessing as mp
    fns = files()
    with mp.get_context('fork').Pool(n_workers) as pool:
        pool.starmap(decode, [(fns[:50], draft)]*n_workers)
        def epoch(): yield sum(pool.starmap(decode, [(fns[i::n_workers], draft) for i in range(n_workers)]))
        yield from epochs(epoch)

def jpeg(fn, resized=True):
    "The fastest decoder, by hand: simplejpeg leaves out what 64 pixels can't show, PyTorch resizes the bytes"
    import simplejpeg, torch, torch.nn.functional as F
    x = simplejpeg.decode_jpeg(Path(fn).read_bytes(), min_height=size, min_width=size)
    if not resized: return x
    x = torch.from_numpy(x).permute(2, 0, 1)[None]
    return F.interpolate(x, (size, size), mode='bicubic', antialias=True)[0]

def many_jpegs(fns, resized):
    import torch
    torch.set_num_threads(1)
    for fn in fns: jpeg(fn, resized)
    return len(fns)

def jpegs_alone(resized):
    import multiprocessing as mp
    fns = files()
    with mp.get_context('fork').Pool(n_workers) as pool:
        pool.starmap(many_jpegs, [(fns[:50], resized)]*n_workers)
        def epoch(): yield sum(pool.starmap(many_jpegs, [(fns[i::n_workers], resized) for i in range(n_workers)]))
        yield from epochs(epoch)

# ---- what an expert writes in twenty lines

def script():
    "Threads, no library of ours"
    from concurrent.futures import ThreadPoolExecutor
    import torch
    torch.set_num_threads(1)
    fns,pool = files(),ThreadPoolExecutor(n_workers)
    v2i = vocab(fns)
    def batch(idxs): return torch.stack([jpeg(fns[i]) for i in idxs]), torch.tensor([v2i[Path(fns[i]).parent.name] for i in idxs])
    def epoch():
        order,waiting = iter(torch.randperm(len(fns)).split(bs)),deque()
        def submit(n): waiting.extend(pool.submit(batch, o.tolist()) for o in islice(order, n))
        submit(2*n_workers+1)
        while waiting:
            x,y = waiting.popleft().result()
            submit(1)
            yield len(x.float().div_(255))
    yield from epochs(epoch)

# ---- the rungs between the chapter's loader and ours

class Floats:
    "What a PyTorch user writes: open, resize, to tensor"
    def __init__(self, fns): self.fns,self.v2i = fns,vocab(fns)
    def __len__(self): return len(self.fns)
    def __getitem__(self, i):
        import numpy as np, torch
        from PIL import Image
        fn = self.fns[i]
        im = Image.open(fn).convert('RGB').resize((size, size), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(im)).permute(2, 0, 1).float().div(255), self.v2i[Path(fn).parent.name]

class Jpegs(Floats):
    "The same with the fastest decoder"
    def __getitem__(self, i): return jpeg(self.fns[i]), self.v2i[Path(self.fns[i]).parent.name]

class Bytes(Floats):
    def __getitem__(self, i):
        import numpy as np
        from PIL import Image
        fn = self.fns[i]
        return np.array(Image.open(fn).convert('RGB').resize((size, size), Image.Resampling.BICUBIC)), self.v2i[Path(fn).parent.name]

def stacked(ds, idxs):
    import numpy as np, torch
    xs,ys = zip(*(ds[i] for i in idxs))
    return (np.stack(xs) if isinstance(xs[0], np.ndarray) else torch.stack(xs).numpy()), np.array(ys)

the_ds = None     # forked workers inherit it
def work(idxs): return stacked(the_ds, idxs)

def rungs(ds, bounded, persistent):
    "The chapter's loader, with its faults taken away one by one"
    import multiprocessing as mp, torch
    global the_ds
    the_ds = ds
    make = lambda: ProcessPoolExecutor(n_workers, mp_context=mp.get_context('fork'))
    kept = make() if persistent else None
    def answers(pool, order):
        if not bounded: yield from pool.map(work, order); return
        order,submitted = iter(order),deque()
        for idxs in islice(order, 2*n_workers): submitted.append(pool.submit(work, idxs))
        while submitted:
            answer = submitted.popleft().result()
            for idxs in islice(order, 1): submitted.append(pool.submit(work, idxs))
            yield answer
    def epoch():
        order = [o.tolist() for o in torch.randperm(len(ds)).split(bs)]
        pool = kept or make()
        for x,y in answers(pool, order):
            x = torch.from_numpy(x)
            yield len(x.float().div_(255) if x.dtype==torch.uint8 else x)
        if not persistent: pool.shutdown()
    yield from epochs(epoch)
    if kept: kept.shutdown()

# ---- loaders

def ours(draft=True, cache=False, pipe=False, pillow=False, n=None, fast=True):
    "Our loader; on request with our pool's pipe instead of shared memory, Pillow's `resize` instead of PyTorch's, its decoder instead of simplejpeg"
    import numpy as np, torch
    from PIL import Image
    import learner_scratch.data as data, learner_scratch.support.images as images, learner_scratch.support.workers as workers
    if not fast: images.simplejpeg = None
    if pipe: workers.WorkerPool.__init__.__defaults__ = (*workers.WorkerPool.__init__.__defaults__[:-1], 0)
    if pillow: images.resize = lambda x, size: torch.from_numpy(np.array(Image.fromarray(x.numpy()).resize((size, size), Image.Resampling.BICUBIC)))
    fns = files()
    if n: fns = (fns*(n//len(fns)+1))[:n]
    dl = data.DataLoader(data.Dataset(fns, vocab(fns), size, draft), bs, shuffle=True, n_workers=n_workers, cache=cache)
    yield from epochs(lambda: (len(xb) for xb,yb in dl))
    dl.close()

def torch_loader(kind, prefetch=2):
    from torch.utils.data import DataLoader
    from learner_scratch.data import Dataset
    from learner_scratch.support.loading import to_float
    fns = files()
    ds = Dataset(fns, vocab(fns), size) if kind=='ours' else dict(plain=Floats, jpegs=Jpegs)[kind](fns)
    dl = DataLoader(ds, bs, shuffle=True, num_workers=n_workers, persistent_workers=True, prefetch_factor=prefetch)
    yield from epochs(lambda: (len(to_float(xb)) for xb,yb in dl))

def fastai():
    import types
    try: import torchvision
    except ImportError:     # fastai imports one function of it; here it's called with nothing to pad
        for name in ('torchvision', 'torchvision.transforms', 'torchvision.transforms.functional'): sys.modules[name] = types.ModuleType(name)
        def pad(x, padding, **kwargs): assert not any(padding); return x
        sys.modules['torchvision.transforms.functional'].pad = pad
    from fastai.data.core import DataLoaders
    from fastai.data.block import DataBlock, CategoryBlock
    from fastai.data.transforms import get_image_files, GrandparentSplitter, parent_label
    from fastai.vision.data import ImageBlock
    from fastai.vision.augment import Resize
    path = Path(files()[0]).parents[2]
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
                      splitter=GrandparentSplitter(valid_name='val'), item_tfms=Resize(size, method='squish'))
    dl = block.dataloaders(path, bs=bs, num_workers=n_workers).train
    yield from epochs(lambda: (len(xb) for xb,yb in dl))

def spdl():
    "Two threads that decode, one that makes batches, in one process"
    import numpy as np, torch, spdl.io
    from spdl.pipeline import PipelineBuilder
    fns = files()
    v2i = vocab(fns)
    def load(idxs):
        buffer = spdl.io.load_image_batch([fns[i] for i in idxs], width=size, height=size, pix_fmt='rgb24')
        return spdl.io.to_torch(buffer), torch.tensor([v2i[Path(fns[i]).parent.name] for i in idxs])
    def epoch():
        order = [o.tolist() for o in torch.randperm(len(fns)).split(bs)]
        pipeline = PipelineBuilder().add_source(order).pipe(load, concurrency=n_workers).add_sink(4).build(num_threads=n_workers)
        with pipeline.auto_stop():
            for x,y in pipeline: yield len(x.float().div_(255))
    yield from epochs(epoch)

def dali():
    "NVIDIA's pipeline on the CPU, two threads"
    import torch
    from nvidia.dali import fn, pipeline_def, types
    from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy
    @pipeline_def(batch_size=bs, num_threads=n_workers, device_id=None)
    def pipe():
        data,label = fn.readers.file(file_root=str(Path(files()[0]).parents[1]), random_shuffle=True, name='reader')
        image = fn.decoders.image(data, device='cpu', output_type=types.RGB)
        return fn.resize(image, resize_x=size, resize_y=size, interp_type=types.INTERP_CUBIC, antialias=True), label
    dl = DALIGenericIterator([pipe()], ['x', 'y'], reader_name='reader', last_batch_policy=LastBatchPolicy.PARTIAL, auto_reset=True)
    yield from epochs(lambda: (len(b[0]['x'].float().div_(255)) for b in dl))

def datago():
    "Rust threads, one for each core; pictures of the same 64 pixels, without labels"
    import numpy as np, torch
    from datago import DatagoClient
    image = dict(crop_and_resize=True, default_image_size=size, downsampling_ratio=size, min_aspect_ratio=1., max_aspect_ratio=1., pre_encode_images=False)
    source = dict(root_path=str(Path(files()[0]).parents[1]), random_sampling=False)
    n = len(files())
    config = dict(source_type='file', source_config=source, image_config=image, limit=n, samples_buffer_size=4*bs)
    def epoch():
        client = DatagoClient(json.dumps(config))
        def samples():
            for _ in range(n): yield torch.from_numpy(np.array(client.get_sample_auto_convert()['image'].convert('RGB')))
        it = samples()
        while xs := list(islice(it, bs)): yield len(torch.stack(xs).float().div_(255))
        client.stop()
    yield from epochs(epoch)

# ---- measuring

def epochs(epoch, n=None):
    "Seconds to the first batch, then images and seconds of each epoch; the clock starts when the loader is there"
    start,first = time.perf_counter(),None
    for _ in range(n or int(os.environ.get('EPOCHS', 3))):
        begin,seen = time.perf_counter(),0
        for k in epoch():
            seen += k
            first = first or time.perf_counter()-start
        yield dict(images=seen, seconds=time.perf_counter()-begin, first=first)

arms = {
    'decode + resize': lambda: decode_alone(False), 'decode + resize, draft': lambda: decode_alone(True),
    'torch': lambda: torch_loader('plain'), 'torch, prefetch 4': lambda: torch_loader('plain', 4),
    'torch, prefetch 8': lambda: torch_loader('plain', 8),
    'torch around our Dataset': lambda: torch_loader('ours'), 'torch around simplejpeg': lambda: torch_loader('jpegs'), 'fastai': fastai,
    'decode, simplejpeg': lambda: jpegs_alone(False), 'decode + resize, simplejpeg': lambda: jpegs_alone(True),
    'script': script, 'spdl': spdl, 'dali': dali, 'datago': datago,
    'chapter': lambda: rungs(Floats(files()), False, False), 'bounded': lambda: rungs(Floats(files()), True, False),
    'persistent': lambda: rungs(Floats(files()), True, True), 'uint8': lambda: rungs(Bytes(files()), True, True),
    'our pool, pipe': lambda: ours(False, pipe=True, pillow=True, fast=False), 'our pool': lambda: ours(False, pillow=True, fast=False),
    'resize': lambda: ours(False, fast=False), 'draft': lambda: ours(fast=False), 'draft, pipe': lambda: ours(pipe=True, fast=False),
    'simplejpeg': ours, 'cache': lambda: ours(cache=True),
    '1x': lambda: ours(n=2000), '4x': lambda: ours(n=8000), '16x': lambda: ours(n=32000)}

# ---- a whole training, from the start of the process

train_ours = '''
from learner_scratch.all import *
dls = DataLoaders.from_folder(untar_data(URLs.IMAGENETTE_160), n_workers=2)
set_seed(SEED)
norm = Normalize([tensor([.46, .46, .43]), tensor([.27, .27, .29])])
track = TrackResults()
Learner(simple_cnn(), dls, cross_entropy, lr=.1, cbs=[SetupLearnerCB(lambda x: channels_first(norm(x))), track]).fit(3)
print('RESULT', track.history[-1]['valid_accuracy'])
'''
train_torch = '''
import sys, time, torch, torch.nn as nn, torch.nn.functional as F
sys.path.insert(0, HERE)
from loader import Floats, files
from torch.utils.data import DataLoader
torch.manual_seed(SEED)
def conv(ni, nf): return nn.Sequential(nn.Conv2d(ni, nf, 3, stride=2, padding=1), nn.ReLU())
model = nn.Sequential(conv(3, 16), conv(16, 32), conv(32, 64), conv(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
for m in model.modules():
    if isinstance(m, nn.Conv2d): nn.init.kaiming_normal_(m.weight)
kind = dict(num_workers=2, persistent_workers=True, prefetch_factor=PREFETCH)
train_dl = DataLoader(Floats(files()), 128, shuffle=True, **kind)
valid_dl = DataLoader(Floats(files('val')), 256, **kind)
mean,std = (torch.tensor(o).view(3, 1, 1) for o in ([.46, .46, .43], [.27, .27, .29]))
opt = torch.optim.SGD(model.parameters(), lr=.1)
for epoch in range(3):
    model.train()
    for xb,yb in train_dl:
        loss = F.cross_entropy(model((xb-mean)/std), yb)
        loss.backward(); opt.step(); opt.zero_grad()
    model.eval()
    right = n = 0
    with torch.no_grad():
        for xb,yb in valid_dl:
            right += (model((xb-mean)/std).argmax(-1)==yb).sum(); n += len(yb)
print('RESULT', (right/n).item())
'''

def training(code, **kwargs):
    "Seconds from the process's start to its last metric"
    for k,v in kwargs.items(): code = code.replace(k, repr(v))
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True, env={**os.environ, 'NO_BAR': '1'}) as p:
        for line in p.stdout:
            if line.startswith('RESULT'): took,accuracy = time.perf_counter()-start,float(line.split()[1])
    if p.returncode: raise SystemExit(f'a training failed:\n{code}')
    return took,accuracy

# ---- memory

def tree(pid):
    "`pid` and what descends from it"
    kids = Path(f'/proc/{pid}/task/{pid}/children')
    try: return [pid] + [o for k in kids.read_text().split() for o in tree(int(k))]
    except OSError: return []

def pss(pid):
    try: text = Path(f'/proc/{pid}/smaps_rollup').read_text()
    except OSError: return 0
    return next((int(o.split()[1])/1024 for o in text.splitlines() if o.startswith('Pss:')), 0)

needs = dict(script='simplejpeg', spdl='spdl.io', dali='nvidia.dali', datago='datago')

def environment(peers):
    "Where DALI's decoder library may be, too"
    libraries = [str(o.parent) for o in Path(peers).rglob('libnvimgcodec.so.0')] if peers else []
    paths = [str(here.parents[1]), *([peers] if peers else []), *{str(Path(o).parents[1]) for o in libraries}-{peers}]
    return {**os.environ, 'PYTHONPATH': ':'.join(paths), 'LD_LIBRARY_PATH': ':'.join([*libraries, os.environ.get('LD_LIBRARY_PATH', '')])}

def one(arm, python=sys.executable, memory=False, **env):
    "Run `arm` in a process of its own; its epochs, and the peak of all its processes' memory in MB"
    p = subprocess.Popen([python, here, '--arm', arm], stdout=subprocess.PIPE, text=True, env={**os.environ, 'PYTHONPATH': str(here.parents[1]), **env})
    peak = 0
    while memory and p.poll() is None: peak = max(peak, sum(map(pss, tree(p.pid)))); time.sleep(.02)
    out = p.communicate()[0]
    if p.returncode: raise RuntimeError(f'{arm} failed')
    return json.loads(out.strip().splitlines()[-1]), peak

def median(xs): return statistics.median(xs)

def spread(xs): return [round(min(xs), 3), round(median(xs), 3), round(max(xs), 3)]

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--arm'); parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--fastai', default=sys.executable)
    parser.add_argument('--peers', default='')
    parser.add_argument('--part', nargs='*', default=['speed', 'growth', 'memory', 'training'])
    args = parser.parse_args()
    if args.arm: print(json.dumps(list(arms[args.arm]()))); return
    for fn in files()+files('val'): Path(fn).read_bytes()     # into the system's own cache
    res,load_before = json.loads(results.read_text()) if results.exists() else {},load()
    has_fastai = not subprocess.run([args.fastai, '-c', 'import fastai'], capture_output=True).returncode
    def can(name): return has_fastai if name=='fastai' else not subprocess.run([sys.executable, '-c', f'import {needs[name]}'], capture_output=True,
        env=environment(args.peers)).returncode if name in needs else True
    names = [o for o in arms if o not in ('1x', '4x', '16x') and can(o)]
    print('left out, as not installed:', ', '.join({*arms}-{*names}-{'1x', '4x', '16x'}) or 'nothing')
    if 'speed' in args.part:
        rates,firsts = {o: [] for o in names},{o: [] for o in names}
        for r in range(args.rounds):
            for name in names[::-1] if r%2 else names:     # to and fro, so that nobody is always after the same
                got,_ = one(name, args.fastai if name=='fastai' else sys.executable, **environment(args.peers))
                rates[name].append(sum(o['images'] for o in got[1:])/sum(o['seconds'] for o in got[1:]))
                firsts[name].append(got[0]['first'])
                print(f"{name:26} {rates[name][-1]:10,.0f} images/s, first batch after {1000*firsts[name][-1]:5.0f} ms", flush=True)
        best = max((o for o in names if o.startswith('torch') and 'around' not in o), key=lambda o: median(rates[o]))
        res['torch_best'] = best
        res['speed'] = {o: dict(images_per_second=spread(rates[o]), first_batch_ms=spread([1000*x for x in firsts[o]]),
                                **{f'ratio_to_{k}': spread([a/b for a,b in zip(rates[o], rates[p])])
                                   for k,p in dict(torch=best, ours_in_torch='torch around our Dataset', decode='decode + resize', jpegs='decode + resize, simplejpeg', script='script').items()
                                   if p in names})
                        for o in names}
    best = res.get('torch_best', 'torch')
    if 'growth' in args.part:
        costs = {o: [] for o in ('1x', '4x', '16x')}
        for r in range(args.rounds):
            for o in costs:
                got,_ = one(o, EPOCHS='2')
                costs[o].append(1e6*got[1]['seconds']/got[1]['images'])
        res['growth'] = {o: spread(c) for o,c in costs.items()}
    if 'memory' in args.part:
        res['memory'] = {o: spread([one(o, memory=True, EPOCHS='2')[1] for _ in range(min(args.rounds, 3))])
                         for o in (best, 'torch around our Dataset', 'simplejpeg', 'cache', 'script') if o in names}
    if 'training' in args.part:
        prefetch = int(best.split()[-1]) if 'prefetch' in best else 2
        mine,theirs = [],[]
        for seed in range(args.rounds):
            mine.append(training(train_ours, SEED=seed))
            theirs.append(training(train_torch, SEED=seed, HERE=str(here.parent), PREFETCH=prefetch))
            print(f'training: ours {mine[-1][0]:.1f} s, torch {theirs[-1][0]:.1f} s', flush=True)
        res['training'] = dict(ours_s=spread([s for s,_ in mine]), torch_s=spread([s for s,_ in theirs]),
                               ratio=spread([a/b for (a,_),(b,_) in zip(mine, theirs)]),
                               ours_accuracy=spread([o for _,o in mine]), torch_accuracy=spread([o for _,o in theirs]))
    from PIL import features
    res['machine'] = facts(libjpeg_turbo=features.version('libjpeg_turbo'), rounds=args.rounds, load_before=load_before)
    results.write_text(json.dumps(res, indent=1)+'\n')
    print(json.dumps(res, indent=1))

if __name__=='__main__': main()
