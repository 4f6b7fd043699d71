"""What a minute of two cores brings: ours, an expert's PyTorch, a Lightning user's and a fastai user's.

    python benchmarks/minute.py                     # what can be imported here; half an hour; writes benchmarks/minute.json
    python benchmarks/minute.py --peers peers/bin/python --only fastai lightning     # an interpreter with torchvision, fastai, Lightning
    python benchmarks/minute.py --only ours expert --rounds 3

Imagenette at 160 px read at 64, two workers, two cores. Each run is a process of its own. Its clock starts behind the imports, before the data set
is looked at, and runs through workers, decoding, training and a validation after each epoch. Time is in reference steps (benchmarks/reference.py),
measured before and after each run; a minute is 480 of them. The arms take turns. `curve` has the steps and the validation accuracy at the end of
each epoch; an arm has several runs of different length, as each length has its own schedule.

ours: `scratch_train --cache --recipe best`, with its four epochs and with two, and `--recipe long`. expert: the same recipe in plain PyTorch, with torch's loader around Pillow with
draft, layers of torch.nn, bfloat16, channels-last, Muon by hand; compiled too. lightning: torchvision's resnet18, SGD and OneCycleLR, bf16-mixed,
torchvision's transforms. fastai: `xresnet18`, `fit_one_cycle`, label smoothing, random crops and flips as in its own Imagenette script, float32
(its mixed precision is for GPUs), channels-last. Run it on an idle machine."""
import argparse, csv, json, os, subprocess, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory

here = Path(__file__).resolve()
size,bs,n_workers = 64,128,2
path = Path.home()/'.fastai/data/imagenette2-160'
mean,std = [.465, .457, .430],[.274, .269, .292]

# ---- ours

def ours(recipe, *more):
    "From the command's own files; what lies before the first epoch counts before it"
    with TemporaryDirectory() as tmp:
        out = Path(tmp)/'run'
        command = Path(sys.executable).parent/'scratch_train'
        args = ['--data', 'imagenette', '--cache', '--recipe', recipe, '--seed', os.environ.get('SEED', '0'), '--out', str(out), *more]
        done = subprocess.run([command, *args], env={**os.environ, 'NO_BAR': '1'}, capture_output=True, text=True)
        if done.returncode: raise SystemExit(done.stderr[-2000:])
        rows = list(csv.DictReader((out/'history.csv').open()))
        seconds = json.loads((out/'settings.json').read_text())['seconds']
    took = [float(o['time']) for o in rows]
    now = seconds-sum(took)
    for t,o in zip(took, rows):
        now += t
        yield now, float(o['valid_accuracy'])

# ---- an expert's PyTorch

def expert(recipe, compiled=False, epochs=None):
    import torch, torch.nn as nn, torch.nn.functional as F
    from PIL import Image
    from torch.utils.data import DataLoader
    import numpy as np, math
    torch.manual_seed(int(os.environ.get('SEED', '0')))
    torch.set_num_threads(2)
    n,sizes,shift = dict(best=(4, (.625, .875, 1, 1), 0), long=(16, (.625, .875, 1, 1), 6))[recipe]
    epochs = epochs or n

    class Pictures:
        def __init__(self, split):
            self.files = sorted((path/split).rglob('*.JPEG'))
            names = sorted({o.parent.name for o in self.files})
            self.labels = [names.index(o.parent.name) for o in self.files]
        def __len__(self): return len(self.files)
        def __getitem__(self, i):
            with Image.open(self.files[i]) as im:
                im.draft('RGB', (size, size))
                x = np.asarray(im.convert('RGB').resize((size, size), Image.Resampling.BICUBIC))
            return torch.from_numpy(x.copy()), self.labels[i]

    def conv(ni, nf, ks=3): return nn.Conv2d(ni, nf, ks, 1, ks//2, bias=False)
    def norm(nf): return nn.BatchNorm2d(nf, momentum=.4)
    class Strided(nn.Module):
        def __init__(self, ni, nf):
            super().__init__()
            self.conv1,self.bn1,self.conv2,self.bn2 = nn.Conv2d(ni, nf, 3, 2, 1, bias=False),norm(nf),conv(nf, nf),norm(nf)
            self.short = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), conv(ni, nf, 1), norm(nf))
        def forward(self, x):
            y = self.bn2(self.conv2(F.relu_(self.bn1(self.conv1(x)))))
            y += self.short(x)
            return F.relu_(y)
    class Pooled(nn.Module):
        def __init__(self, ni, nf):
            super().__init__()
            self.conv1,self.bn1,self.conv2,self.bn2 = conv(ni, nf),norm(nf),conv(nf, nf),norm(nf)
        def forward(self, x):
            x = F.relu_(self.bn1(F.max_pool2d(self.conv1(x), 2)))
            return x + F.relu_(self.bn2(self.conv2(x)))
    class Mean(nn.Module):
        def forward(self, x): return x.mean((2, 3))
    first = nn.Conv2d(3, 48, 4, 2, 1)
    nn.init.zeros_(first.bias)
    model = nn.Sequential(first, nn.ReLU(True), Strided(48, 64), Pooled(64, 128), Pooled(128, 256), Mean(), nn.Linear(256, 10))
    for m in list(model.modules()):
        if isinstance(m, nn.Conv2d) and m is not first: nn.init.kaiming_normal_(m.weight, mode='fan_out')

    def orthogonal(u, n=3):
        x = u.permute(0, 2, 3, 1).flatten(1).bfloat16()
        if tall := x.shape[0]>x.shape[1]: x = x.T
        x = x/x.norm().clamp(min=1e-7)
        for _ in range(n):
            a = x@x.T
            x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.775, alpha=2.0315), x, beta=3.4445)
        x = x.T if tall else x
        return x.view(u.shape[0], *u.shape[2:], u.shape[1]).permute(0, 3, 1, 2)

    start = time.perf_counter()
    kw = dict(num_workers=n_workers, persistent_workers=True, prefetch_factor=4)
    train,valid = DataLoader(Pictures('train'), bs, shuffle=True, **kw),DataLoader(Pictures('val'), 2*bs, **kw)
    m,s = (torch.tensor(o) for o in (mean, std))
    def normal(x): return (x.float().div_(255).sub_(m).div_(s)).permute(0, 3, 1, 2)
    def moved(x):
        n,_,h,w = x.shape
        x = F.pad(x, (shift,)*4, mode='reflect').permute(0, 2, 3, 1)
        down,right = torch.randint(0, 2*shift+1, (2, n))
        rows,cols = down[:,None]+torch.arange(h),right[:,None]+torch.arange(w)
        return x[torch.arange(n)[:,None,None], rows[:,:,None], cols[:,None,:]].permute(0, 3, 1, 2)
    batches = iter(train)
    with torch.no_grad():
        x = normal(next(batches)[0])
        patches = F.unfold(x, 4).transpose(1, 2).flatten(0, 1)
        values,vectors = torch.linalg.eigh(patches.T@patches/len(patches))
        w = (vectors/(values+.05).sqrt()).T.flip(0)[:24].view(24, 3, 4, 4)
        first.weight.copy_(torch.cat([w, -w]))
    first.weight.requires_grad_(False)
    model = model.to(memory_format=torch.channels_last)
    filters = [p for p in model.parameters() if p.ndim==4 and p.requires_grad]
    rest = [p for p in model.parameters() if p.ndim<4]
    momenta = [torch.zeros_like(p) for p in filters]
    opt = torch.optim.SGD(rest, lr=.1, momentum=.6, nesterov=True)
    call = torch.compile(model) if compiled else model
    total,step = epochs*len(train),0
    for epoch in range(epochs):
        share = sizes[-1 if epoch==epochs-1 else epoch*len(sizes)//epochs]
        model.train()
        for x,y in train:
            t = step/total
            rate = 1/25+(1-1/25)*.5*(1-math.cos(math.pi*t/.25)) if t<.25 else .5*(1+math.cos(math.pi*(t-.25)/.75))
            x = normal(x)
            if shift: x = moved(x)
            flip = torch.rand(len(x), 1, 1, 1)<.5
            x = torch.where(flip, x.flip(3), x)
            if share<1: x = F.interpolate(x, (round(share*size),)*2, mode='bilinear', antialias=True)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast('cpu', torch.bfloat16): preds = call(x)
            F.cross_entropy(preds.float(), y, label_smoothing=.1).backward()
            opt.param_groups[0]['lr'] = .048*rate
            opt.step()
            with torch.no_grad():
                for p,b in zip(filters, momenta):
                    b.mul_(.6).add_(p.grad)
                    p.mul_(len(p)**.5/p.norm())
                    p.add_(orthogonal(p.grad.add(b, alpha=.6)), alpha=-.12*rate)
            model.zero_grad()
            step += 1
        model.eval()
        right = n = 0
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            for x,y in valid:
                right += (call(normal(x)).argmax(-1)==y).sum().item()
                n += len(y)
        yield time.perf_counter()-start, right/n

# ---- a Lightning user

def lightning(epochs):
    import lightning as pl, torch, torch.nn.functional as F, torchvision
    from torchvision import transforms as T
    from torch.utils.data import DataLoader
    pl.seed_everything(int(os.environ.get('SEED', '0')), verbose=False)
    torch.set_num_threads(2)
    start,curve = time.perf_counter(),[]
    norm = [T.ToTensor(), T.Normalize(mean, std)]
    def dataset(split, tfms): return torchvision.datasets.ImageFolder(path/split, T.Compose([*tfms, *norm]))
    kw = dict(num_workers=n_workers, persistent_workers=True)
    train = DataLoader(dataset('train', [T.RandomResizedCrop(size, (.35, 1)), T.RandomHorizontalFlip()]), bs, shuffle=True, **kw)
    valid = DataLoader(dataset('val', [T.Resize((size, size))]), 2*bs, **kw)
    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = torchvision.models.resnet18(num_classes=10).to(memory_format=torch.channels_last)
        def training_step(self, batch, i):
            x,y = batch
            return F.cross_entropy(self.model(x.contiguous(memory_format=torch.channels_last)), y, label_smoothing=.1)
        def on_validation_epoch_start(self): self.right,self.n = 0,0
        def validation_step(self, batch, i):
            x,y = batch
            self.right += (self.model(x).argmax(-1)==y).sum().item()
            self.n += len(y)
        def on_validation_epoch_end(self): curve.append((time.perf_counter()-start, self.right/self.n))
        def configure_optimizers(self):
            opt = torch.optim.SGD(self.parameters(), lr=.1, momentum=.9, nesterov=True, weight_decay=5e-4)
            sched = torch.optim.lr_scheduler.OneCycleLR(opt, .1, total_steps=self.trainer.estimated_stepping_batches)
            return [opt], [dict(scheduler=sched, interval='step')]
    trainer = pl.Trainer(max_epochs=epochs, accelerator='cpu', precision='bf16-mixed', logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0)
    trainer.fit(Net(), train, valid)
    return curve

# ---- a fastai user

def fastai(epochs):
    from fastai.vision.all import (CategoryBlock, ChannelsLast, Callback, DataBlock, GrandparentSplitter, ImageBlock, LabelSmoothingCrossEntropy,
                                   Learner, Normalize, RandomResizedCrop, FlipItem, accuracy, get_image_files, parent_label, set_seed, xresnet18,
                                   default_device, imagenet_stats)
    import torch
    default_device(False)
    torch.set_num_threads(2)
    set_seed(int(os.environ.get('SEED', '0')))
    start,curve = time.perf_counter(),[]
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=GrandparentSplitter(valid_name='val'),
                      item_tfms=[RandomResizedCrop(size, min_scale=.35), FlipItem(.5)], batch_tfms=Normalize.from_stats(*imagenet_stats))
    dls = block.dataloaders(path, bs=bs, num_workers=n_workers)
    class Note(Callback):
        order = 60
        def after_epoch(self): curve.append((time.perf_counter()-start, float(self.recorder.values[-1][-1])))
    learn = Learner(dls, xresnet18(n_out=10), loss_func=LabelSmoothingCrossEntropy(), metrics=accuracy, cbs=[ChannelsLast(), Note()])
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(epochs, 1e-2)
    return curve

arms = {'ours, 2 epochs of best': ('ours', lambda: ours('best', '--epochs', '2')), 'ours, best': ('ours', lambda: ours('best')), 'ours, long': ('ours', lambda: ours('long')),
        'expert, 2 epochs of best': ('expert', lambda: expert('best', epochs=2)), 'expert, best': ('expert', lambda: expert('best')), 'expert, long': ('expert', lambda: expert('long')),
        'expert compiled, best': ('expert', lambda: expert('best', True)), 'expert compiled, long': ('expert', lambda: expert('long', True)),
        **{f'lightning, {n} epochs': ('lightning', lambda n=n: lightning(n)) for n in (2, 8)},
        **{f'fastai, {n} epochs': ('fastai', lambda n=n: fastai(n)) for n in (1, 4, 5)}}

def rows():
    file = here.with_suffix('.json')
    return json.loads(file.read_text())['rows'] if file.exists() else []

def plot(file):
    "Accuracy over time; for each arm, its runs of different length"
    import matplotlib
    matplotlib.use('agg')
    import matplotlib.pyplot as plt
    fig,ax = plt.subplots(figsize=(7, 3.4))
    names = dict(ours='learner_scratch', expert='the same recipe in plain PyTorch', lightning='Lightning, ResNet-18', fastai='fastai, xresnet18')
    styles = dict(ours=('C0', 'o'), expert=('C1', 's'), lightning=('C2', '^'), fastai=('C3', 'D'))
    for kind,name in names.items():
        some = [o for o in rows() if o['kind']==kind and 'compiled' not in o['arm'] and o['seed']==0]
        for i,o in enumerate(some):
            colour,marker = styles[kind]
            x,y = zip(*o['curve'])
            ax.plot(x, [100*v for v in y], '-', lw=1, color=colour)
            ax.plot(x[-1], 100*y[-1], marker, color=colour, ms=5, label=name if not i else None)
    ax.axvline(480, ls=':', lw=.8, color='gray')
    ax.axvline(1920, ls=':', lw=.8, color='gray')
    ax.set(xscale='log', xlabel='time in reference steps (480, dotted, are about a minute of two cores)', ylabel='validation accuracy (%)', ylim=(20, 90))
    ticks = [60, 120, 240, 480, 960, 1920, 3840, 7680]
    ax.set_xticks(ticks, map(str, ticks))
    ax.minorticks_off()
    ax.legend(fontsize=8, loc='lower right')
    for o in (*ax.spines.values(),): o.set_color('gray')
    ax.tick_params(colors='gray'); ax.xaxis.label.set_color('gray'); ax.yaxis.label.set_color('gray')
    fig.savefig(file, dpi=150, bbox_inches='tight', transparent=False)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--only', nargs='*', default=['ours', 'expert', 'lightning', 'fastai'])
    parser.add_argument('--rounds', type=int, default=1)
    parser.add_argument('--peers', default=sys.executable)
    parser.add_argument('--plot', help='draw the rows that are there into this file, and train nothing')
    parser.add_argument('--arm', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.arm: return print(json.dumps([(round(t, 2), round(a, 4)) for t,a in arms[args.arm][1]()]))
    if args.plot: return plot(args.plot)
    from machine import facts, load
    from reference import reference_ms
    for seed in range(args.rounds):
        for name,(kind,_) in arms.items():
            if kind not in args.only or any((o['arm'], o['seed'])==(name, seed) for o in rows()): continue
            python = args.peers if kind in ('lightning', 'fastai') else sys.executable
            load_before,before = load(),reference_ms()
            done = subprocess.run([python, here, '--arm', name], capture_output=True, text=True,
                                  env={**os.environ, 'SEED': str(seed), 'OMP_NUM_THREADS': '2', 'OMP_WAIT_POLICY': 'PASSIVE'})
            if done.returncode: print(f'{name} failed:\n{done.stderr[-1500:]}'); continue
            curve,after = json.loads(done.stdout.strip().splitlines()[-1]),reference_ms()
            unit = (before+after)/2e3
            row = dict(arm=name, kind=kind, seed=seed, seconds=curve[-1][0], reference_steps=round(curve[-1][0]/unit), accuracy=curve[-1][1],
                       curve=[(round(t/unit), a) for t,a in curve], reference_ms=[before, after], machine=facts(load_before=load_before))
            text = ',\n  '.join(map(json.dumps, [*rows(), row]))
            here.with_suffix('.json').write_text(f'{{"rows": [\n  {text}]}}\n')
            print(f"{name:24} seed {seed}: {100*row['accuracy']:.1f} % in {row['reference_steps']} reference steps, {row['seconds']:.0f} s", flush=True)

if __name__=='__main__': main()
