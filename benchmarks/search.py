"""How `best` and `long` were chosen: trainings judged by 1,500 training pictures that were held out. The validation set isn't read here.

    python benchmarks/search.py "dict(kinds='rmm', opt='muon', lr=.05)" …       # some rows, printed as JSON
    python benchmarks/search.py --repeat 12         # the row number 12 of benchmarks/search.json once more

Plain PyTorch, one file, so that a change of recipe needs no change of the book. Pictures are decoded once and kept. The settings of a row are those of
`base` but for what the row names. `steps` is the training's time (without decoding and validation) in steps of the ladder's ResNet-8 on the same
threads, before and after it; the rows of search.json ran two at a time, with a thread each, so their steps are rough.

A network is a stem and stages. Stems: `conv` (3×3, stride 2), `deep` (three convolutions and a pool), `white42` (whitened patches of 4×4, stride 2),
`white44` (stride 4, 96 channels), `white64` (6×6, stride 4). A stage, by its letter: `r` a residual block of stride 2, `R` the same without a stride,
`s` a strided convolution and then one beside a shortcut, `m` a convolution with a maximum of four behind it and then one beside a shortcut, `a` with the
mean of four, `p` with neither."""
import argparse, json, math, os, statistics, time
from pathlib import Path
import torch, torch.nn as nn, torch.nn.functional as F

here = Path(__file__).resolve()
mean,std = torch.tensor([.465, .457, .430]),torch.tensor([.274, .269, .292])
base = dict(stem='conv', kinds='rrr', widths=(64, 128, 256), act='relu', stem_act='gelu', pool='avg', head=1., n=2, first=24, opt='sgd', lr=.3, mom=.9,
            wd=5e-4, bs=128, epochs=8, sizes=(.5, .625, .75, .875, 1, 1), ls=.1, flip='random', shift=0, crop=0., warm=.25, shape='cos', share=.1,
            bias_lr=1., lookahead=False, muon_lr=.12, muon_mom=.6, muon_rounds=3, seed=0)
acts = dict(relu=F.relu_, gelu=F.gelu, silu=F.silu)

# ---- networks

def conv(ni, nf, stride=1, ks=3): return nn.Conv2d(ni, nf, ks, stride, ks//2, bias=False)

class Act(nn.Module):
    def __init__(self, f): super().__init__(); self.f = f
    def forward(self, x): return self.f(x)

class Residual(nn.Module):
    def __init__(self, ni, nf, stride, act):
        super().__init__()
        self.conv1,self.bn1,self.conv2,self.bn2 = conv(ni, nf, stride),nn.BatchNorm2d(nf),conv(nf, nf),nn.BatchNorm2d(nf)
        pool = [nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)]*(stride>1)
        self.act,self.short = act,nn.Sequential(*pool, conv(ni, nf, ks=1), nn.BatchNorm2d(nf))
    def forward(self, x):
        y = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        y += self.short(x)
        return self.act(y)

class Stage(nn.Module):
    "A convolution that halves, or not, and others beside a shortcut"
    def __init__(self, ni, nf, act, kind, n):
        super().__init__()
        self.conv1,self.bn1 = conv(ni, nf, 2 if kind=='s' else 1),nn.BatchNorm2d(nf)
        self.convs,self.bns = (nn.ModuleList(f() for _ in range(n-1)) for f in (lambda: conv(nf, nf), lambda: nn.BatchNorm2d(nf)))
        self.act,self.halve = act,dict(m=lambda x: F.max_pool2d(x, 2), a=lambda x: F.avg_pool2d(x, 2)).get(kind, lambda x: x)
    def forward(self, x):
        x = self.act(self.bn1(self.halve(self.conv1(x))))
        y = x
        for c,b in zip(self.convs, self.bns): y = self.act(b(c(y)))
        return x+y

class Net(nn.Module):
    def __init__(self, c):
        super().__init__()
        act,widths = acts[c['act']],c['widths']
        def cn(ni, nf, stride=1): return conv(ni, nf, stride),nn.BatchNorm2d(nf),nn.ReLU(True)
        if c['stem']=='conv': self.stem,ni = nn.Sequential(*cn(3, 32, 2)),32
        elif c['stem']=='deep': self.stem,ni = nn.Sequential(*cn(3, 32, 2), *cn(32, 32), *cn(32, 64), nn.MaxPool2d(3, 2, 1)),64
        else:
            k,stride = map(int, c['stem'][-2:])
            n = c['first'] if stride==2 else 48
            first,ni = nn.Conv2d(3, 2*n, k, stride, (k-stride)//2),2*n
            first.weight.requires_grad_(False)
            self.stem = nn.Sequential(first, Act(acts[c['stem_act']]))
        stages = []
        for w,k in zip(widths, c['kinds']):
            stages.append(Residual(ni, w, 1+(k=='r'), act) if k in 'rR' else Stage(ni, w, act, k, c['n']))
            ni = w
        self.stages,self.fc = nn.Sequential(*stages),nn.Linear(ni, 10, bias=c['head']==1)
        self.head,self.pool = c['head'],c['pool']
    def forward(self, x):
        x = self.stages(self.stem(x))
        return self.fc(x.mean((2, 3)) if self.pool=='avg' else x.amax((2, 3)))*self.head

def whiten(layer, x, eps=.05):
    k = layer.kernel_size[0]
    patches = F.unfold(x, k).transpose(1, 2).flatten(0, 1)
    patches = patches[torch.randperm(len(patches))[:200_000]]
    values,vectors = torch.linalg.eigh(patches.T@patches/len(patches))
    w = (vectors/(values+eps).sqrt()).T.flip(0)[:len(layer.weight)//2].view(-1, 3, k, k)
    with torch.no_grad(): layer.weight.copy_(torch.cat([w, -w])); layer.bias.zero_()

# ---- Muon, with a fixed norm for each weight

def orthogonal(u, n):
    x = u.permute(0, 2, 3, 1).flatten(1).bfloat16()
    if tall := x.shape[0]>x.shape[1]: x = x.T
    x = x/x.norm().clamp(min=1e-7)
    for _ in range(n):
        a = x@x.T
        x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return (x.T if tall else x).view(u.shape[0], *u.shape[2:], u.shape[1]).permute(0, 3, 1, 2)

@torch.no_grad()
def muon_step(ps, buffers, lr, mom, rounds):
    for p,b in zip(ps, buffers):
        b.mul_(mom).add_(p.grad)
        p.mul_(len(p)**.5/p.norm())
        p.add_(orthogonal(p.grad+mom*b, rounds), alpha=-lr)

# ---- pictures

def normal(x): return ((x.float()/255-mean)/std).permute(0, 3, 1, 2)

def shifted(x, k, g):
    n,_,h,w = x.shape
    x = F.pad(x, (k,)*4, mode='reflect').permute(0, 2, 3, 1)
    down,right = torch.randint(0, 2*k+1, (2, n), generator=g)
    rows,cols = down[:,None]+torch.arange(h),right[:,None]+torch.arange(w)
    return x[torch.arange(n)[:,None,None], rows[:,:,None], cols[:,None,:]].permute(0, 3, 1, 2)

def cropped(x, size, least, g):
    n,u = len(x),torch.rand(len(x), 4, generator=g)
    area = least+u[:,0]*(1-least)
    low,high = area.log().clip(min=math.log(3/4)),(-area.log()).clip(max=math.log(4/3))
    shape = (low+u[:,1]*(high-low)).exp()
    w,h,zero = (area*shape).sqrt(),(area/shape).sqrt(),torch.zeros(n)
    left,top = u[:,2]*(1-w),u[:,3]*(1-h)
    grid = torch.stack([torch.stack(o, 1) for o in ((w, zero, 2*left+w-1), (zero, h, 2*top+h-1))], 1)
    return F.grid_sample(x, F.affine_grid(grid, (n, 3, size, size), align_corners=False), padding_mode='border', align_corners=False)

def pictures():
    "All training pictures at 64 pixels, decoded once; 1,500 of them held out"
    from learner_scratch.all import DataLoader, Dataset, URLs, get_image_files, parent_label, untar_data
    files = get_image_files(untar_data(URLs.IMAGENETTE_160)/'train')
    v2i = {k: i for i,k in enumerate(sorted({parent_label(o) for o in files}))}
    ds = Dataset(files, v2i, 64)
    x,y = zip(*(ds[i] for i in range(len(ds))))
    x,y = torch.stack([torch.as_tensor(o) for o in x]),torch.stack([torch.as_tensor(o) for o in y])
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1234))
    return x[order[1500:]],y[order[1500:]],x[order[:1500]],y[order[:1500]]

def reference(n=24):
    "Seconds of a step of the ladder's ResNet-8, on the threads that there are"
    torch.manual_seed(0)
    m = Net(base).to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(m.parameters(), 1e-4, .9, nesterov=True)
    x,y,took = torch.randn(128, 3, 64, 64).contiguous(memory_format=torch.channels_last),torch.randint(10, (128,)),[]
    for _ in range(n):
        start = time.perf_counter()
        with torch.autocast('cpu', torch.bfloat16): p = m(x)
        F.cross_entropy(p.float(), y).backward(); opt.step(); opt.zero_grad()
        took.append(time.perf_counter()-start)
    return statistics.median(took[4:])

# ---- a training

def train(data, **changes):
    unknown = set(changes)-set(base)
    if unknown: raise SystemExit(f'no such setting: {unknown}')
    c = {**base, **changes}
    xt,yt,xv,yv = data
    before = reference()
    torch.manual_seed(c['seed'])
    g,m = torch.Generator().manual_seed(c['seed']+77),Net(c)
    for o in m.modules():
        if isinstance(o, nn.Conv2d) and o.weight.requires_grad: nn.init.kaiming_normal_(o.weight, mode='fan_out')
        if isinstance(o, nn.BatchNorm2d): o.momentum = c['share']
    m,start = m.to(memory_format=torch.channels_last),time.perf_counter()
    if c['stem'][:5]=='white': whiten(m.stem[0], normal(xt[:1024]))
    named = [(k, p) for k,p in m.named_parameters() if p.requires_grad]
    filters,heads = [p for _,p in named if p.ndim==4],[p for _,p in named if p.ndim==2]
    biases,scales = [p for k,p in named if p.ndim==1 and k.endswith('bias')],[p for k,p in named if p.ndim==1 and not k.endswith('bias')]
    is_muon = c['opt']=='muon'
    groups = [dict(params=heads+([] if is_muon else filters), weight_decay=c['wd'], k=1.), dict(params=biases, k=c['bias_lr']), dict(params=scales, k=1.)]
    opt,buffers = torch.optim.SGD(groups, lr=c['lr'], momentum=c['mom'], nesterov=True),[torch.zeros_like(p) for p in filters]
    n,bs,sizes = len(xt),c['bs'],c['sizes']
    per_epoch,step = n//bs,0
    total,state,slow = round(per_epoch*c['epochs']),[o for o in (*m.parameters(), *m.buffers()) if o.is_floating_point()],None
    side = torch.rand(n, generator=g)<.5
    while step<total:
        order = torch.randperm(n, generator=g)
        side = ~side if c['flip']=='alternating' else torch.rand(n, generator=g)<.5
        for idxs in order[:per_epoch*bs].split(bs):
            if step>=total: break
            t = step/total
            size = round(64*sizes[min(int(t*len(sizes)), len(sizes)-1)]/4)*4
            x,y = normal(xt[idxs]),yt[idxs]
            if c['crop']: x = cropped(x, size, c['crop'], g)
            elif size<64: x = F.interpolate(x, (size, size), mode='bilinear', antialias=True)
            if c['shift']: x = shifted(x, c['shift'], g)
            x = torch.where(side[idxs][:,None,None,None], x.flip(3), x).contiguous(memory_format=torch.channels_last)
            s = (t-c['warm'])/(1-c['warm'])
            rate = max(t/c['warm'], .02) if s<0 else .5*(1+math.cos(math.pi*s)) if c['shape']=='cos' else 1-s
            for o in opt.param_groups: o['lr'] = c['lr']*rate*o['k']
            with torch.autocast('cpu', torch.bfloat16): p = m(x)
            F.cross_entropy(p.float(), y, label_smoothing=c['ls']).backward()
            opt.step()
            if is_muon: muon_step(filters, buffers, c['muon_lr']*rate, c['muon_mom'], c['muon_rounds'])
            m.zero_grad()
            step += 1
            if c['lookahead'] and step%5==0:
                with torch.no_grad():
                    if slow is None: slow = [o.detach().clone() for o in state]
                    for e,o in zip(slow, state): e.lerp_(o, 1-.95**5*t**3); o.copy_(e)
    seconds = time.perf_counter()-start
    m.eval()
    def outputs(f):
        with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
            return torch.cat([m(f(normal(x)).contiguous(memory_format=torch.channels_last)).float() for x in xv.split(256)])
    plain,mirrored = outputs(lambda x: x),outputs(lambda x: x.flip(3))
    def percent(p): return round(100*(p.argmax(1)==yv).float().mean().item(), 2)
    return dict(changes, seed=c['seed'], accuracy=percent(plain), tta=percent(plain.softmax(1)+mirrored.softmax(1)),
                loss=round(F.cross_entropy(plain, yv).item(), 4), steps=round(2*seconds/(before+reference())))

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('settings', nargs='*')
    parser.add_argument('--repeat', type=int)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', '2')))
    data,what = pictures(),[eval(o) for o in args.settings]
    if args.repeat is not None:
        row = json.loads(here.with_suffix('.json').read_text())['rows'][args.repeat]
        what.append({k: v for k,v in row.items() if k in base})
    for o in what: print(json.dumps(train(data, **o)), flush=True)

if __name__=='__main__': main()
