"""The unit of time of the ladder's benchmarks.

    python benchmarks/reference.py      # milliseconds of a reference step, now

A reference step is the median time of a training step of ResNet-8 in plain PyTorch: bfloat16, channels-last, 128 pictures of 64 pixels, two threads,
SGD with Nesterov momentum and weight decay, on one random batch. A machine's seconds drift from hour to hour, and other machines have others; a
run's time in reference steps, measured before and after it, says what it costs in units of work."""
import statistics, time
import torch, torch.nn.functional as F
from step import bs, lr, mom, plain_net, size, wd

def reference_ms(n=40, warm=8):
    "Milliseconds"
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    model = plain_net('resnet8')
    opt = torch.optim.SGD(model.parameters(), lr=lr/100, momentum=mom, nesterov=True, weight_decay=wd)
    x = torch.randn(bs, 3, size, size).contiguous(memory_format=torch.channels_last)
    y,took = torch.randint(10, (bs,)),[]
    for _ in range(warm+n):
        start = time.perf_counter()
        with torch.autocast('cpu', torch.bfloat16): preds = model(x)
        F.cross_entropy(preds.float(), y).backward()
        opt.step()
        opt.zero_grad()
        took.append(1e3*(time.perf_counter()-start))
    torch.set_num_threads(threads)
    return round(statistics.median(took[warm:]), 1)

if __name__=='__main__': print(reference_ms())
