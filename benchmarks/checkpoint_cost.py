"""What a checkpoint costs, and a trace: seconds for one save, its size, and both beside the training's time.

    python benchmarks/checkpoint_cost.py --save         # an idle machine; a minute or two

Pictures of 64 pixels in batches of 128 (32 for the larger networks), in memory, two threads. `share` is the time of one save in each minute of
training, as CheckpointCallback(every_minutes=1) has it; `trace` is what TraceCallback adds to a batch. Medians; saves on this machine's disk, with fsync."""
import argparse, json, statistics, time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
import torch
from machine import facts, load
from learner_scratch.all import (Callback, CheckpointCallback, DataLoaders, Learner, SGD, TraceCallback, cross_entropy, resnet18, resnet50, simple_cnn)
from learner_scratch.research.whitening import whitened_resnet8
from learner_scratch.train.muon import Muon

class Times(Callback):
    "Seconds of each batch"
    order = 2000
    def before_fit(self): self.seconds,self.last = [],time.perf_counter()
    def after_batch(self):
        now = time.perf_counter()
        self.seconds.append(now-self.last); self.last = now

def measure(make, opt_func, bs, n_batches):
    x,y = torch.randn(bs, 3, 64, 64),torch.randint(10, (bs,))
    learn = Learner(make(), DataLoaders([(x, y)]*n_batches, None), cross_entropy, .01, opt_func=opt_func)
    def seconds(*cbs):
        times = Times()
        with learn.no_logging(): learn.fit(1, cbs=[*cbs, times])
        return statistics.median(times.seconds[2:])
    with TemporaryDirectory() as tmp:
        plain = seconds()
        traced = seconds(TraceCallback(Path(tmp)/'trace'))
        keep,saves = CheckpointCallback(Path(tmp)/'run'),[]
        class Saves(Callback):
            def after_batch(self):
                if self.num<2: return
                start = time.perf_counter()
                keep.n_step += 1; keep.save(0)
                saves.append(time.perf_counter()-start)
        with learn.no_logging(): learn.fit(1, cbs=[keep, Saves()])
        size = max(o.stat().st_size for o in (Path(tmp)/'run').glob('checkpoint-*'))
    save = statistics.median(saves)
    return dict(step_ms=round(1e3*plain, 1), save_ms=round(1e3*save, 1), MB=round(size/1e6, 2), share_of_a_minute=round(save/60, 5),
                trace_ms=round(1e3*(traced-plain), 2), trace_share=round((traced-plain)/plain, 3))

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--save', action='store_true', help='write checkpoint_cost.json')
    args = parser.parse_args()
    torch.set_num_threads(2)
    before,mom = load(),partial(SGD, mom=.9)
    arms = dict(simple_cnn=(simple_cnn, mom, 128, 12), whitened_resnet8=(whitened_resnet8, partial(Muon, mom=.6, keep_norm=True), 128, 8),
                resnet18=(resnet18, mom, 32, 8), resnet50=(resnet50, mom, 32, 6))
    rows = []
    for name,o in arms.items():
        rows.append(dict(network=name, **measure(*o)))
        print(rows[-1], flush=True)
    if args.save: Path(__file__).with_suffix('.json').write_text(json.dumps(dict(rows=rows, machine=facts(load_before=before)), indent=1)+'\n')

if __name__=='__main__': main()
