"""What a training loop costs: our Learner, the chapter's, a hand-written loop, miniai, Lightning and fastai.

    python benchmarks/learner.py                     # everything; writes benchmarks/learner.json
    python benchmarks/learner.py --only overhead --rounds 2 --out /tmp/learner.json
    python benchmarks/learner.py --peers peers/bin/python      # an interpreter with fastai and Lightning

`overhead` trains one linear layer, where the loop itself is most of the time; `work` trains `simple_cnn` and
a ResNet-18. Every arm is a process of its own, which waits to be told to run a round; all arms take turns, in
a new order each round, and a ratio is taken round by round. Run it on an idle machine. What is clocked is a
whole fit, from its call to its return, with a validation set of one batch or one picture. What a process has
in memory after the imports and the data is not counted; as memory differs from process to process, some are
started for it alone.

For the peers, with the PyTorch that is here, so that only the loops differ (what cannot be imported is left
out, and a line says so):

    python -m venv peers
    echo "torch==$(python -c 'import torch; print(torch.__version__.split("+")[0])')" > constraints.txt
    peers/bin/pip install -c constraints.txt lightning fastai
    peers/bin/pip uninstall -y torchvision      # if it doesn't match that PyTorch; nothing here needs it

The course's miniai isn't on PyPI (the package of that name is another). Where it can be imported it is used,
else its Learner as re-typed below, from fastai/course22p2 at 459c87f."""
import argparse, gc, json, os, platform, random, statistics, subprocess, sys, tempfile, time
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
import torch, torch.nn as nn, torch.nn.functional as F
from machine import facts, load

here = Path(__file__).resolve()
results = here.with_suffix('.json')
n_in,n_out,small_bs,small_lr = 10,10,64,.1
size,bs,n_batches = 64,128,20
imagenette = Path.home()/'.fastai/data/imagenette2-160'

# ---- overhead: each arm is a function that returns a function, which trains on a list of batches

def hand():
    model = nn.Linear(n_in, n_out)
    opt = torch.optim.SGD(model.parameters(), lr=small_lr)
    def train(batches):
        model.train()
        for xb,yb in batches:
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
    return train

def fits(learn, dls):
    "Train `learn`, as most libraries have it"
    def train(batches):
        learn.dls = dls(batches, batches[:1])
        learn.fit(1)
    return train

def tracked(model, loss_func, lr, cbs=(), dls=None, **kwargs):
    "Our Learner with its default callbacks, and loss and accuracy tracked"
    from learner_scratch.all import DataLoaders, Learner, accuracy
    return Learner(model, dls or DataLoaders([], []), loss_func, lr=lr, cbs=cbs, metrics=accuracy, **kwargs)

def ours_small(bare=False, own_loss=False):
    "Our layer, optimizer and loop; with the loss of the loop by hand, or with our own"
    from learner_scratch.all import DataLoaders, L, Learner, Linear, cross_entropy
    loss_func = cross_entropy if own_loss else F.cross_entropy
    if not bare: return fits(tracked(Linear(n_in, n_out), loss_func, small_lr), DataLoaders)
    Learner.default_cbs = L()
    return fits(Learner(Linear(n_in, n_out), DataLoaders([], []), loss_func, lr=small_lr), DataLoaders)

def ours_torch_parts():
    from learner_scratch.all import DataLoaders
    learn = tracked(nn.Linear(n_in, n_out), F.cross_entropy, small_lr, opt_func=torch.optim.SGD)
    return fits(learn, DataLoaders)

def chapter(track):
    "The book's last chapter, as it is printed"
    from fastcore.basics import GetAttr, noop, store_attr
    from fastprogress.fastprogress import progress_bar

    class Parameter(torch.Tensor):
        def __new__(cls, x): return torch.Tensor._make_subclass(cls, x, True)
        def __init__(self, *args, **kwargs): self.requires_grad_()

    class Module:
        def __init__(self): self.hook,self.params,self.children,self._training = None,[],[],False
        def register_parameters(self, *ps): self.params += ps
        def register_modules(self, *ms): self.children += ms
        @property
        def training(self): return self._training
        @training.setter
        def training(self, v):
            self._training = v
            for m in self.children: m.training = v
        def parameters(self): return self.params + sum([m.parameters() for m in self.children], [])
        def __setattr__(self, k, v):
            super().__setattr__(k, v)
            if isinstance(v, Parameter): self.register_parameters(v)
            if isinstance(v, Module): self.register_modules(v)
        def __call__(self, *args, **kwargs):
            res = self.forward(*args, **kwargs)
            if self.hook is not None: self.hook(res, args)
            return res

    class Linear(Module):
        def __init__(self, ni, nf):
            super().__init__()
            self.w,self.b = Parameter(torch.zeros(nf, ni)),Parameter(torch.zeros(nf))
            nn.init.xavier_normal_(self.w)
        def forward(self, x): return x@self.w.t() + self.b

    def nll(input, target): return -input[range(target.shape[0]), target].mean()
    def log_softmax(x): return x - x.logsumexp(-1, keepdim=True)
    def cross_entropy(preds, yb): return nll(log_softmax(preds), yb).mean()

    class SGD:
        def __init__(self, params, lr, wd=0.): store_attr()
        def step(self):
            for p in self.params:
                p.data -= (p.grad.data + p.data*self.wd)*self.lr
                p.grad.data.zero_()

    class CancelFitException(Exception): pass

    class Learner:
        def __init__(self, model, dls, loss_func, lr, cbs, opt_func=SGD):
            store_attr()
            for cb in cbs: cb.learner = self
        def one_batch(self):
            self('before_batch')
            xb,yb = self.batch
            self.preds = self.model(xb)
            self.loss = self.loss_func(self.preds, yb)
            if self.model.training:
                self.loss.backward()
                self.opt.step()
            self('after_batch')
        def one_epoch(self, train):
            self.model.training = train
            self('before_epoch')
            dl = self.dls.train if train else self.dls.valid
            for self.num,self.batch in enumerate(progress_bar(dl, leave=False)): self.one_batch()
            self('after_epoch')
        def fit(self, n_epochs):
            self('before_fit')
            self.opt,self.n_epochs = self.opt_func(self.model.parameters(), self.lr),n_epochs
            try:
                for self.epoch in range(n_epochs):
                    self.one_epoch(True)
                    self.one_epoch(False)
            except CancelFitException: pass
            self('after_fit')
        def __call__(self, name):
            for cb in self.cbs: getattr(cb, name, noop)()

    class Callback(GetAttr): _default = 'learner'

    class TrackResults(Callback):
        def before_epoch(self): self.accs,self.losses,self.ns = [],[],[]
        def after_epoch(self):
            n = sum(self.ns)
            print(self.epoch, self.model.training, sum(self.losses).item()/n, sum(self.accs).item()/n)
        def after_batch(self):
            xb,yb = self.batch
            self.accs.append((self.preds.argmax(dim=1)==yb).float().sum())
            n = len(xb)
            self.losses.append(self.loss*n)
            self.ns.append(n)

    learn = Learner(Linear(n_in, n_out), None, cross_entropy, small_lr, [TrackResults()] if track else [])
    return fits(learn, lambda *dls: SimpleNamespace(train=dls[0], valid=dls[1]))

def retyped_miniai():
    "miniai's `Learner` and `TrainCB`, the same calls in the same order"
    from fastcore.basics import store_attr
    from fastcore.foundation import L
    cancels = {o: type(f'Cancel{o.title()}Exception', (Exception,), {}) for o in ('fit', 'epoch', 'batch')}

    def run_cbs(cbs, name, learn):
        for cb in sorted(cbs, key=attrgetter('order')):
            method = getattr(cb, name, None)
            if method is not None: method(learn)

    def with_cbs(name):
        def decorate(f):
            def wrapped(o, *args, **kwargs):
                try:
                    o.callback(f'before_{name}')
                    f(o, *args, **kwargs)
                    o.callback(f'after_{name}')
                except cancels[name]: pass
                finally: o.callback(f'cleanup_{name}')
            return wrapped
        return decorate

    class TrainCB:
        order,n_inp = 0,1
        def predict(self, learn): learn.preds = learn.model(*learn.batch[:self.n_inp])
        def get_loss(self, learn): learn.loss = learn.loss_func(learn.preds, *learn.batch[self.n_inp:])
        def backward(self, learn): learn.loss.backward()
        def step(self, learn): learn.opt.step()
        def zero_grad(self, learn): learn.opt.zero_grad()

    class Learner:
        def __init__(self, model, dls, loss_func, lr=.1, cbs=None, opt_func=torch.optim.SGD):
            cbs = L(cbs)
            store_attr()
        @with_cbs('batch')
        def _one_batch(self):
            self.predict()
            self.callback('after_predict')
            self.get_loss()
            self.callback('after_loss')
            if not self.training: return
            self.backward()
            self.callback('after_backward')
            self.step()
            self.callback('after_step')
            self.zero_grad()
        @with_cbs('epoch')
        def _one_epoch(self):
            for self.iter,self.batch in enumerate(self.dl): self._one_batch()
        def one_epoch(self, training):
            self.model.train(training)
            self.dl = self.dls.train if training else self.dls.valid
            self._one_epoch()
        @with_cbs('fit')
        def _fit(self):
            for self.epoch in range(self.n_epochs):
                self.one_epoch(True)
                torch.no_grad()(self.one_epoch)(False)
        def fit(self, n_epochs):
            self.n_epochs,self.opt = n_epochs,self.opt_func(self.model.parameters(), self.lr)
            self._fit()
        def __getattr__(self, name):
            if name not in 'predict get_loss backward step zero_grad'.split(): raise AttributeError(name)
            return partial(self.callback, name)
        def callback(self, name): run_cbs(self.cbs, name, self)
        @property
        def training(self): return self.model.training

    return Learner,TrainCB

def miniai():
    try: from miniai.learner import Learner, TrainCB
    except ImportError: Learner,TrainCB = retyped_miniai()
    learn = Learner(nn.Linear(n_in, n_out), None, F.cross_entropy, lr=small_lr, cbs=[TrainCB()])
    train = fits(learn, lambda *dls: SimpleNamespace(train=dls[0], valid=dls[1]))
    if not Learner.__module__.startswith('miniai'): train.label = 'miniai (re-typed)'
    return train

def lightning(track=False, barebones=False):
    import lightning
    class Small(lightning.LightningModule):
        def __init__(self): super().__init__(); self.layer = nn.Linear(n_in, n_out)
        def training_step(self, batch, i):
            xb,yb = batch
            preds = self.layer(xb)
            loss = F.cross_entropy(preds, yb)
            if track:
                values = dict(loss=loss, accuracy=(preds.argmax(-1)==yb).float().mean())
                self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(xb))
            return loss
        def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=small_lr)
    class Batches:
        "To Lightning, a list is a list of loaders"
        def __init__(self, items): self.items = items
        def __iter__(self): return iter(self.items)
        def __len__(self): return len(self.items)
    model = Small()
    def train(batches):
        how = dict(barebones=True) if barebones else dict(logger=False, enable_checkpointing=False, enable_progress_bar=False,
                                                          enable_model_summary=False)
        trainer = lightning.Trainer(max_epochs=1, accelerator='cpu', **how)
        trainer.fit(model, Batches(batches))
    return train

def fastai(bar=True):
    from fastai.callback.progress import ProgressCallback     # the import adds it to the defaults
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy
    from fastai.optimizer import SGD
    from fastai.torch_core import default_device
    default_device(False)
    make = lambda *dls: DataLoaders(*dls, device='cpu')
    learn = Learner(make([], []), nn.Linear(n_in, n_out), F.cross_entropy, SGD, small_lr, metrics=accuracy)
    assert any(isinstance(o, ProgressCallback) for o in learn.cbs)
    train = fits(learn, make)
    if bar: return train
    def without(batches):
        with learn.no_bar(), learn.no_logging(): train(batches)
    return without

small_arms = dict(hand=hand,
    ours_bare=partial(ours_small, True), ours_default=ours_small,
    ours_own_loss_bare=partial(ours_small, True, True), ours_own_loss=partial(ours_small, False, True),
    ours_torch_parts=ours_torch_parts,
    chapter_bare=partial(chapter, False), chapter_tracked=partial(chapter, True), miniai=miniai,
    lightning_barebones=partial(lightning, barebones=True), lightning=lightning, lightning_tracked=partial(lightning, True),
    fastai=fastai, fastai_no_bar=partial(fastai, False))
peers = ['miniai', 'lightning_barebones', 'lightning', 'lightning_tracked', 'fastai', 'fastai_no_bar']

def small_rounds(arm, n):
    "First what there is to say about the arm, then the seconds of each round"
    torch.manual_seed(0)
    train = small_arms[arm]()
    torch.set_num_threads(1)
    x,y = torch.randn(n*small_bs, n_in),torch.randint(n_out, (n*small_bs,))
    batches = list(zip(x.split(small_bs), y.split(small_bs)))
    for _ in range(2): train(batches[:1000])
    short = statistics.median(clocked(train, batches[:1]) for _ in range(5))
    yield dict(label=getattr(train, 'label', arm), fit_of_one_batch=short)
    while True: yield dict(seconds=clocked(train, batches))

# ---- work

def plain_cnn(inplace):
    def conv(ni, nf): return nn.Conv2d(ni, nf, 3, stride=2, padding=1),nn.ReLU(inplace)
    return nn.Sequential(*conv(3, 16), *conv(16, 32), *conv(32, 64), *conv(64, 128),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))

class BasicBlock(nn.Module):
    def __init__(self, ni, nf, stride):
        super().__init__()
        self.conv1,self.bn1 = nn.Conv2d(ni, nf, 3, stride, 1, bias=False),nn.BatchNorm2d(nf)
        self.relu = nn.ReLU(inplace=True)
        self.conv2,self.bn2 = nn.Conv2d(nf, nf, 3, 1, 1, bias=False),nn.BatchNorm2d(nf)
        shortcut = lambda: nn.Sequential(nn.Conv2d(ni, nf, 1, stride, bias=False), nn.BatchNorm2d(nf))
        self.downsample = None if ni==nf and stride==1 else shortcut()

    def forward(self, x):
        res = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        res += x if self.downsample is None else self.downsample(x)
        return self.relu(res)

class ResNet18(nn.Module):
    "The names of torchvision's"
    def __init__(self, n_out=10):
        super().__init__()
        self.conv1,self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False),nn.BatchNorm2d(64)
        self.relu,self.maxpool = nn.ReLU(inplace=True),nn.MaxPool2d(3, 2, 1)
        def stage(ni, nf, stride): return nn.Sequential(BasicBlock(ni, nf, stride), BasicBlock(nf, nf, 1))
        self.layer1,self.layer2 = stage(64, 64, 1),stage(64, 128, 2)
        self.layer3,self.layer4 = stage(128, 256, 2),stage(256, 512, 2)
        self.avgpool,self.fc = nn.AdaptiveAvgPool2d(1),nn.Linear(512, n_out)
        for m in self.modules():
            if isinstance(m, nn.Conv2d): nn.init.kaiming_normal_(m.weight, mode='fan_out')

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))

lrs,moms = dict(simple_cnn=.1, resnet18=.05),dict(simple_cnn=0., resnet18=.9)
epochs = dict(simple_cnn=4, resnet18=1)     # in a round

def plain(net, batches, channels_last=False, inplace=False):
    model = plain_cnn(inplace) if net=='simple_cnn' else ResNet18()
    if channels_last: model = model.to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(model.parameters(), lr=lrs[net], momentum=moms[net])
    def train():
        model.train()
        for xb,yb in batches:
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
    return train

def ours(net, batches, channels_last=False):
    from learner_scratch.all import SGD, DataLoaders, SetupLearnerCB, channels_first, cross_entropy, noop
    from learner_scratch.all import simple_cnn
    model,tfm = simple_cnn() if net=='simple_cnn' else ResNet18(),noop
    if channels_last or net=='simple_cnn':
        batches,tfm = [(xb.permute(0, 2, 3, 1), yb) for xb,yb in batches],channels_first
        assert batches[0][0].is_contiguous()
    if channels_last: model = model.to(memory_format=torch.channels_last)
    opt_func = partial(SGD, mom=moms[net])
    learn = tracked(model, cross_entropy, lrs[net], [SetupLearnerCB(tfm, 'cpu')], opt_func=opt_func,
                    dls=DataLoaders(batches, [tuple(o[:1] for o in batches[0])]))
    return lambda: learn.fit(1)

work_arms = dict(
    simple_cnn=dict(torch=plain, torch_channels_last=partial(plain, channels_last=True),
        torch_inplace=partial(plain, inplace=True),
        torch_channels_last_inplace=partial(plain, channels_last=True, inplace=True), ours=ours),
    resnet18=dict(torch=plain, torch_channels_last=partial(plain, channels_last=True), ours=ours,
        ours_channels_last=partial(ours, channels_last=True)))

def save_pictures(folder):
    "Normalised pictures and their labels, for all arms, in both orders of axes"
    import numpy as np
    torch.manual_seed(0)
    if imagenette.exists():
        from learner_scratch.all import DataLoaders, Normalize
        norm = Normalize([[.465, .457, .430], [.274, .269, .292]])
        dl = DataLoaders.from_folder(imagenette, size, bs, n_workers=0).train
        batches = [(norm(xb), yb) for xb,yb in islice(dl, n_batches)]
        x,y = map(torch.cat, zip(*batches))
    else: x,y = torch.randn(n_batches*bs, size, size, 3),torch.randint(10, (n_batches*bs,))
    np.save(folder/'channels_last.npy', x.numpy())
    np.save(folder/'channels_first.npy', x.permute(0, 3, 1, 2).contiguous().numpy())
    np.save(folder/'labels.npy', y.numpy())

def memory(reset=False):
    "The most memory this process has had since the last `reset`, in MB; `None` if this system doesn't say"
    try:
        if reset: Path('/proc/self/clear_refs').write_text('5')
    except OSError: pass
    try: lines = Path('/proc/self/status').read_text().splitlines()
    except OSError: return None
    return next(int(o.split()[1])/1024 for o in lines if o.startswith('VmHWM:'))

def work_rounds(net, arm, folder):
    "First the arm's second warm-up epoch, then the seconds of an epoch in each round; and the memory so far"
    import learner_scratch.all, numpy as np
    torch.manual_seed(0)
    opt = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=.1)
    opt.step(); opt.zero_grad()     # the first time, they import a lot
    as_saved = 'channels_last' not in arm and (net,arm)!=('simple_cnn', 'ours')
    x = torch.from_numpy(np.load(f'{folder}/channels_{"first" if as_saved else "last"}.npy'))
    if not as_saved: x = x.permute(0, 3, 1, 2)
    batches = list(zip(x.split(bs), torch.from_numpy(np.load(f'{folder}/labels.npy')).split(bs)))
    base = memory(reset=True)
    train = work_arms[net][arm](net, batches)
    def answer(seconds): return dict(seconds=seconds, peak_mb=base and memory()-base)
    def several():
        for _ in range(epochs[net]): train()
    train()
    yield dict(answer(clocked(train)), base_mb=base, threads=torch.get_num_threads())
    while True: yield answer(clocked(several)/epochs[net])

# ---- measuring

def clocked(f, *args):
    gc.collect()
    start = time.perf_counter()
    f(*args)
    return time.perf_counter()-start

def versions():
    res = dict(python=platform.python_version())
    for o in ('torch', 'fastcore', 'fastprogress', 'lightning', 'fastai', 'numpy'):
        try: res[o] = version(o)
        except PackageNotFoundError: pass
    return {**res, 'torch': torch.__version__}

def serve():
    "Run rounds as the other process asks for them; what an arm prints goes nowhere"
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    kind,args = json.loads(sys.stdin.readline())
    rounds = dict(small=small_rounds, work=work_rounds)[kind](*args)
    print(json.dumps({**next(rounds), 'versions': versions()}), file=answers, flush=True)
    for _ in sys.stdin: print(json.dumps(next(rounds)), file=answers, flush=True)

class Arm:
    "A process that waits to be told to run a round"
    def __init__(self, kind, *args, python=sys.executable):
        self.name,self.errors = args[:-1],tempfile.TemporaryFile('w+')
        self.p = subprocess.Popen([python, here, '--serve'], text=True, stderr=self.errors,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': str(here.parents[1]), 'CUDA_VISIBLE_DEVICES': ''})
        self.facts = self.ask((kind, args))

    def ask(self, what='round'):
        try: print(json.dumps(what), file=self.p.stdin, flush=True)
        except BrokenPipeError: pass     # its own error says more
        answer = self.p.stdout.readline()
        if answer: return json.loads(answer)
        self.p.wait()
        self.errors.seek(0)
        raise RuntimeError(f'{" ".join(map(str, self.name))} failed:\n{self.errors.read()[-3000:]}')

    def close(self): self.p.stdin.close(); self.p.wait()

def in_turns(arms, n_rounds):
    "The answers of each arm, round by round, in a new order each round"
    res = {o: [] for o in arms}
    for r in range(n_rounds):
        for name in random.Random(r).sample(list(arms), len(arms)): res[name].append(arms[name].ask())
        took = ', '.join(f"{k} {v[-1]['seconds']:.2f} s" for k,v in res.items())
        print(f'round {r+1}/{n_rounds}: {took}', flush=True)
    for o in arms.values(): o.close()
    return res

def spread(xs, digits=3):
    what = dict(median=statistics.median, least=min, most=max)
    return {k: round(f(xs), digits) for k,f in what.items()}

def ratio(xs, ys): return spread([x/y for x,y in zip(xs, ys)])

def overhead(n_rounds, python, n=None):
    if n is None:
        first = Arm('small', 'hand', 2000)
        took = min(first.ask()['seconds'] for _ in range(5))/2000
        first.close()
        n = max(500, 100*round(.003/took))
        print(f'a round is {n} batches')
    arms,left_out = {},{}
    for name in small_arms:
        try: arms[name] = Arm('small', name, n, python=python if name in peers else sys.executable)
        except RuntimeError as e:
            if name not in peers: raise
            left_out[name] = str(e).strip().splitlines()[-1]
            print(f'{name} is left out: {left_out[name]}', flush=True)
    facts = {k: o.facts for k,o in arms.items()}
    for k,o in facts.items():
        other = o['versions']['torch']
        if other!=torch.__version__: print(f'{k} runs with PyTorch {other}, ours with {torch.__version__}')
    runs = {k: [o['seconds'] for o in v] for k,v in in_turns(arms, n_rounds).items()}
    def row(k, v):
        return dict(label=facts[k]['label'], us_per_batch=spread([1e6*x/n for x in v], 2),
            ratio_to_hand=ratio(v, runs['hand']), versions=facts[k]['versions'],
            fit_of_one_batch_ms=round(1e3*facts[k]['fit_of_one_batch'], 2), seconds=[round(x, 4) for x in v])
    settings = dict(layer=[n_in, n_out], bs=small_bs, lr=small_lr, threads=1, batches=n, rounds=n_rounds)
    return dict(settings=settings, left_out=left_out, arms={k: row(k, v) for k,v in runs.items()})

def peak(net, arm, folder):
    "The memory of two epochs in a process of their own"
    one = Arm('work', net, arm, folder)
    one.close()
    return one.facts['peak_mb']

def work(net, n_rounds, folder):
    arms = {k: Arm('work', net, k, folder) for k in work_arms[net] if 'ours' not in k}
    fastest = min(arms, key=lambda k: arms[k].facts['seconds'])
    name = fastest.replace('torch', 'ours')
    if name not in work_arms[net]: name = 'ours'
    arms[name] = Arm('work', net, name, folder)
    facts = {k: o.facts for k,o in arms.items()}
    answers = in_turns(arms, n_rounds)
    runs = {k: [o['seconds'] for o in v] for k,v in answers.items()}
    peaks = {k: [v[-1]['peak_mb']] for k,v in answers.items()}
    if memory():
        for _ in range(min(n_rounds, 5)-1):
            for k in peaks: peaks[k].append(peak(net, k, folder))
    mid = statistics.median
    best = min((o for o in runs if 'ours' not in o), key=lambda o: mid(runs[o]))
    others = dict(best=best, nchw='torch')
    def row(k, v):
        res = {f'ratio_to_{o}': ratio(v, runs[p]) for o,p in others.items()}
        if memory():
            res.update(peak_mb=spread(peaks[k], 1), base_mb=round(facts[k]['base_mb'], 1),
                       peaks_mb=[round(x, 1) for x in peaks[k]])
            for o,p in others.items(): res[f'peak_ratio_to_{o}'] = round(mid(peaks[k])/mid(peaks[p]), 3)
        return dict(seconds_per_epoch=spread(v), **res, seconds=[round(x, 4) for x in v])
    settings = dict(pictures='imagenette' if imagenette.exists() else 'random', size=size, bs=bs,
        batches=n_batches, lr=lrs[net], mom=moms[net], epochs=epochs[net], rounds=n_rounds,
        threads=facts[name]['threads'])
    return dict(settings=settings, best=best, arms={k: row(k, v) for k,v in runs.items()})

# ---- reporting

def text(o, digits=2): return f"{o['median']:.{digits}f} ({o['least']:.{digits}f} to {o['most']:.{digits}f})"

def line(name, *cells): print(f'{name:29}' + ''.join(f'{o:>23}' for o in cells))

def show(res):
    if 'overhead' in res:
        print()
        line('one linear layer', 'µs per batch', 'to the hand-written', 'fit of one batch, ms')
        for o in res['overhead']['arms'].values():
            cells = text(o['us_per_batch'], 1),text(o['ratio_to_hand']),o['fit_of_one_batch_ms']
            line(o['label'], *cells)
    for net,got in res.get('work', {}).items():
        print()
        line(net, 's per epoch', 'to the best plain', 'to plain NCHW', 'peak MB', 'to best, to NCHW')
        for k,o in got['arms'].items():
            cells = [text(o[c]) for c in ('seconds_per_epoch', 'ratio_to_best', 'ratio_to_nchw')]
            if 'peak_mb' in o:
                cells += text(o['peak_mb'], 0),f"{o['peak_ratio_to_best']:.2f}, {o['peak_ratio_to_nchw']:.2f}"
            line(k + ' *'*(k==got['best']), *cells)

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--peers', default=sys.executable)
    parser.add_argument('--only', choices=['overhead', 'work'])
    parser.add_argument('--out', type=Path, default=results)
    parser.add_argument('--serve', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve: return serve()
    res,load_before = json.loads(args.out.read_text()) if args.out.exists() else {},load()
    if args.only!='work': res['overhead'] = overhead(args.rounds, args.peers)
    if args.only!='overhead':
        with tempfile.TemporaryDirectory() as folder:
            save_pictures(Path(folder))
            res['work'] = {net: work(net, args.rounds, folder) for net in work_arms}
    res['machine'] = facts(load_before=load_before)
    args.out.write_text(json.dumps(res, indent=1)+'\n')
    show(res)

if __name__=='__main__': main()
