"""BatchNorm as the page derives it and as we ship it, against PyTorch's, forward and backward, on the CPU.

    python benchmarks/batchnorm.py      # a minute; writes benchmarks/batchnorm.json

`derived` is read from the cells of nbs/research/batchnorm.ipynb. The arms take turns; a row has the medians of 15 rounds, in milliseconds, for
shapes of the ladder's network in float32 and bfloat16, channels last, on one thread and two. Run it on an idle machine."""
import json, statistics, time
from pathlib import Path
import torch
from torch import nn
from learner_scratch.research import batchnorm
from machine import facts, load

here = Path(__file__).resolve()

def derived():
    "The class of the page"
    space = dict(vars(batchnorm), once_differentiable=torch.autograd.function.once_differentiable)
    for cell in json.loads((here.parents[1]/'nbs/research/batchnorm.ipynb').read_text())['cells']:
        source = ''.join(cell['source'])
        wanted = 'class NormaliseChannels', 'class DerivedNorm', 'def wide('
        if cell['cell_type']=='code' and any(o in source for o in wanted): exec(source, space)
    return space['DerivedNorm']

def once(layer, x, g):
    start = time.perf_counter()
    layer(x).backward(g)
    return time.perf_counter()-start

def main():
    before,rows = load(),[]
    kinds = dict(derived=derived(), ours=batchnorm.BatchNorm, torch=nn.BatchNorm2d)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for dtype in (torch.float32, torch.bfloat16):
            for shape in ((128, 32, 32, 32), (128, 64, 16, 16), (128, 128, 8, 8), (128, 256, 4, 4)):
                x = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
                g,layers = torch.randn_like(x),{k: f(shape[1]) for k,f in kinds.items()}
                for layer in layers.values(): once(layer, x, g)
                times = [{k: once(layer, x, g) for k,layer in layers.items()} for _ in range(15)]
                ms = {k: 1e3*statistics.median(o[k] for o in times) for k in layers}
                rows.append(dict(threads=threads, dtype=str(dtype)[6:], shape=shape, **{k: round(v, 3) for k,v in ms.items()},
                                 **{f'{k}_to_torch': round(ms[k]/ms['torch'], 2) for k in ('derived', 'ours')}))
                print(rows[-1], flush=True)
    text = ',\n  '.join(map(json.dumps, rows))
    here.with_suffix('.json').write_text(f'{{"machine": {json.dumps(facts(load_before=before))}, "rows": [\n  {text}]}}\n')

if __name__=='__main__': main()
