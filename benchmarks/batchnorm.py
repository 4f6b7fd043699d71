"""Our BatchNorm against PyTorch's, forward and backward, on the CPU.

    python benchmarks/batchnorm.py

Both take turns; the ratio of the medians is printed for shapes of the ladder's network, in float32 and bfloat16."""
import statistics, time
import torch
from torch import nn
from learner_scratch.research.batchnorm import BatchNorm

def once(layer, x, g):
    start = time.perf_counter()
    layer(x).backward(g)
    return time.perf_counter()-start

for threads in (1, 2):
    torch.set_num_threads(threads)
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((128, 32, 32, 32), (128, 64, 16, 16), (128, 128, 8, 8), (128, 256, 4, 4)):
            x = torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()
            g,layers = torch.randn_like(x),(BatchNorm(shape[1]), nn.BatchNorm2d(shape[1]))
            for layer in layers: once(layer, x, g)
            times = list(zip(*[[once(layer, x, g) for layer in layers] for _ in range(15)]))
            ours,theirs = (1e3*statistics.median(o) for o in times)
            print(f'{threads} threads, {str(dtype)[6:]:9} {str(shape):20} {ours:6.2f} ms, ratio {ours/theirs:.2f}', flush=True)
