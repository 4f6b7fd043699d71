"""What a training step of a real network costs, beside the same network in plain PyTorch; compiled and not.

    python benchmarks/step.py [--rounds 9] [--only resnet8] [--out benchmarks/step.json]

The ladder's ResNet-8 and a ResNet-18, pictures of 64 pixels, batches of 128, two threads, SGD with Nesterov momentum and weight decay,
in float32 and bfloat16. `plain` is what an expert writes: layers of `torch.nn` in channels-last order, in-place ReLUs, `F.cross_entropy`,
`torch.optim.SGD`; its batches are normalised already. `ours` is the whole Learner with its default callbacks, our layers, loss and
optimizer; it normalises its batches, and tracks loss and accuracy. All arms of a network start from the same weights, take turns in one
process, and a ratio is taken round by round. Memory is the peak of an epoch in a process of its own, beyond what it had before the
first step. Run it on an idle machine."""
import argparse, gc, json, os, random, statistics, subprocess, sys, time
from functools import partial
from pathlib import Path
import torch, torch.nn as nn, torch.nn.functional as F
from machine import facts, load

here = Path(__file__).resolve()
size,bs,n_batches,lr,mom,wd = 64,128,20,.01,.9,5e-4
mean,std = [.465, .457, .430],[.274, .269, .292]

# ---- plain PyTorch

def conv(ni, nf, stride=1, ks=3): return nn.Conv2d(ni, nf, ks, stride, ks//2, bias=False)

class Block(nn.Module):
    def __init__(self, ni, nf, stride, pool):
        super().__init__()
        self.conv1,self.bn1 = conv(ni, nf, stride),nn.BatchNorm2d(nf)
        self.conv2,self.bn2 = conv(nf, nf),nn.BatchNorm2d(nf)
        self.relu,self.downsample = nn.ReLU(inplace=True),None
        if stride>1 or ni!=nf:
            smaller = [nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)]*(pool and stride>1)
            self.downsample = nn.Sequential(*smaller, conv(ni, nf, 1 if smaller else stride, 1), nn.BatchNorm2d(nf))

    def forward(self, x):
        res = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        res += x if self.downsample is None else self.downsample(x)
        return self.relu(res)

class ResNet8(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1,self.bn1,self.relu = conv(3, 32, 2),nn.BatchNorm2d(32),nn.ReLU(inplace=True)
        self.layer1,self.layer2,self.layer3 = (nn.Sequential(Block(ni, nf, 2, True)) for ni,nf in ((32, 64), (64, 128), (128, 256)))
        self.fc = nn.Linear(256, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x))))))
        return self.fc(x.mean((2, 3)))

class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1,self.bn1,self.relu = conv(3, 64, 2, 7),nn.BatchNorm2d(64),nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        def stage(ni, nf, stride): return nn.Sequential(Block(ni, nf, stride, False), Block(nf, nf, 1, False))
        self.layer1,self.layer2 = stage(64, 64, 1),stage(64, 128, 2)
        self.layer3,self.layer4 = stage(128, 256, 2),stage(256, 512, 2)
        self.fc = nn.Linear(512, 10)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))

def our_net(net):
    from learner_scratch.all import resnet8, resnet18
    torch.manual_seed(42)
    return (resnet8 if net=='resnet8' else resnet18)(10)

def plain_net(net):
    "The plain network, with the first weights of ours"
    model = ResNet8() if net=='resnet8' else ResNet18()
    words = {'w': 'weight', 'b': 'bias'}
    state = {'.'.join([*k.split('.')[:-1], words.get(k.split('.')[-1], k.split('.')[-1])]): x for k,x in our_net(net).state_dict().items()}
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last)

# ---- the arms: each a function that trains an epoch

def batches():
    torch.manual_seed(0)
    x,y = torch.rand(n_batches*bs, size, size, 3),torch.randint(10, (n_batches*bs,))
    return list(zip(x.split(bs), y.split(bs)))

def plain(net, half, compiled):
    from learner_scratch.data import Normalize
    norm,model = Normalize([mean, std]),plain_net(net)
    data = [(norm(x).permute(0, 3, 1, 2), y) for x,y in batches()]
    groups = [[p for p in model.parameters() if (p.ndim>1)==is_weight] for is_weight in (True, False)]
    opt = torch.optim.SGD([dict(params=groups[0], weight_decay=wd), dict(params=groups[1], weight_decay=0.)],
                          lr=lr, momentum=mom, nesterov=True)
    call = torch.compile(model) if compiled else model
    def epoch():
        model.train()
        for xb,yb in data:
            with torch.autocast('cpu', torch.bfloat16, enabled=half): preds = call(xb)
            F.cross_entropy(preds.float(), yb).backward()
            opt.step()
            opt.zero_grad()
    return epoch,model

def ours(net, half, compiled):
    from learner_scratch.all import (SGD, DataLoaders, Learner, Normalize, SetupLearnerCB, accuracy, channels_first, cross_entropy)
    norm,model = Normalize([mean, std]),our_net(net).to(memory_format=torch.channels_last)
    learn = Learner(model, DataLoaders(batches(), None), cross_entropy, lr, [SetupLearnerCB(lambda x: channels_first(norm(x)), 'cpu')],
                    opt_func=partial(SGD, mom=mom, nesterov=True), metrics=accuracy, wd=wd)
    if half: learn.to_bf16()
    if compiled: learn.compile()
    def epoch():
        with learn.no_logging(): learn.fit(1)
    return epoch,model

arms = dict(plain=(plain, False), ours=(ours, False), plain_compiled=(plain, True), ours_compiled=(ours, True))

# ---- measuring

def once(f):
    gc.collect()
    start = time.perf_counter()
    f()
    return 1e3*(time.perf_counter()-start)/n_batches     # ms for a step

def memory(reset=False):
    "The most memory that this process has had since the last reset, in MB"
    if reset: Path('/proc/self/clear_refs').write_text('5')
    return next(int(o.split()[1])/1024 for o in Path('/proc/self/status').read_text().splitlines() if o.startswith('VmHWM:'))

def peak(net, half, arm):
    "In a process of its own"
    done = subprocess.run([sys.executable, here, '--peak', json.dumps([net, half, arm])], capture_output=True, text=True, check=True,
                          env={**os.environ, 'NO_BAR': '1'})
    return float(done.stdout.split()[-1])

def say_peak(net, half, arm):
    import torch._dynamo     # the compiler itself isn't counted, in no arm
    f,compiled = arms[arm]
    torch.set_num_threads(2)
    epoch,_ = f(net, half, compiled)
    base = memory(reset=True)
    epoch()
    epoch()
    print(memory()-base)

def spread(xs, digits): return {k: round(f(xs), digits) for k,f in dict(median=statistics.median, least=min, most=max).items()}

def measure(net, half, rounds):
    made = {k: f(net, half, compiled) for k,(f,compiled) in arms.items()}
    x = torch.rand(4, 3, size, size)
    with torch.no_grad():
        answers = [m.eval()(x) for _,m in made.values()]
        gap = max((a-answers[0]).abs().max().item() for a in answers)
    assert gap<1e-4, gap     # the same network
    first = {k: once(epoch)*n_batches/1e3 for k,(epoch,_) in made.items()}
    for epoch,_ in made.values(): epoch()
    runs = {k: [] for k in made}
    for r in range(rounds):
        for k in random.Random(r).sample(list(made), len(made)): runs[k].append(once(made[k][0]))
    weights = {k: [p.detach().clone() for p in m.parameters()] for k,(_,m) in made.items()}
    peaks = {k: peak(net, half, k) for k in made}
    res = {}
    for k,v in runs.items():
        res[k] = dict(ms=spread(v, 1), first_epoch_seconds=round(first[k], 1), peak_mb=round(peaks[k]),
                      **{f'ratio_to_{o}': spread([a/b for a,b in zip(v, runs[o])], 3) for o in ('plain', 'plain_compiled')},
                      **{f'peak_ratio_to_{o}': round(peaks[k]/peaks[o], 3) for o in ('plain', 'plain_compiled')}, runs=[round(o, 1) for o in v])
        r = res[k]
        print(f"{net} {'bfloat16' if half else 'float32':9} {k:15} {r['ms']['median']:6.1f} ms, to plain {r['ratio_to_plain']['median']:.2f}, "
              f"to plain compiled {r['ratio_to_plain_compiled']['median']:.2f}; peak {r['peak_mb']} MB, {r['peak_ratio_to_plain']:.2f}", flush=True)
    return res

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--only')
    parser.add_argument('--out', type=Path, default=here.with_suffix('.json'))
    parser.add_argument('--peak', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak: return say_peak(*json.loads(args.peak))
    torch.set_num_threads(2)
    load_before = load()
    res = {f"{net} {'bfloat16' if half else 'float32'}": measure(net, half, args.rounds)
           for net in ('resnet8', 'resnet18') if args.only in (None, net) for half in (False, True)}
    settings = dict(size=size, bs=bs, batches=n_batches, lr=lr, mom=mom, wd=wd, rounds=args.rounds, threads=2)
    machine = facts(load_before=load_before)
    args.out.write_text(json.dumps(dict(settings=settings, machine=machine, arms=res), indent=1)+'\n')

if __name__=='__main__': main()
