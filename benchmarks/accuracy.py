"""What a choice about the data does to accuracy: pairs of trainings with the same seed.

    python benchmarks/accuracy.py draft        # JPEGs decoded at a reduced size, or fully
    python benchmarks/accuracy.py augment      # random crops and flips, or the pictures as they are
    python benchmarks/accuracy.py draft --seeds 2

Imagenette at 64 px, `simple_cnn`, `OneCycle(0.1)`, batches of 128. Writes benchmarks/accuracy.json."""
import argparse, json, os, statistics, time
from pathlib import Path
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
from learner_scratch.all import *

results = Path(__file__).with_suffix('.json')
both = dict(train_size=80, batch_tfms=[RandomResizedCrop(64, min_scale=.35), Flip()])     # fastai's recipe for Imagenette
experiments = dict(
    draft=dict(epochs=8, arms=dict(full=dict(draft=False), draft=dict(draft=True))),
    augment=dict(epochs=24, arms=dict(plain={}, flipped=dict(batch_tfms=[Flip()]), cropped_and_flipped=both)))

def train(seed, epochs, dls):
    "The history of one training"
    set_seed(seed)
    norm,track = Normalize([tensor([.465, .457, .430]), tensor([.274, .269, .292])]),TrackResults()
    learn = Learner(simple_cnn(), dls, cross_entropy, .1, [SetupLearnerCB(lambda x: channels_first(norm(x)), 'cpu'), track, OneCycle(.1)])
    learn.logger = lambda line: None
    for cb in [o for o in learn.cbs if isinstance(o, ProgressCallback)]: learn.remove_cb(cb)
    learn.fit(epochs)
    return track.history

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('experiment', choices=experiments)
    parser.add_argument('--seeds', type=int, default=8)
    args = parser.parse_args()
    plan = experiments[args.experiment]
    loaders = {}
    for arm,kwargs in plan['arms'].items():
        draft = kwargs.get('draft', True)
        loaders[arm] = DataLoaders.from_folder(untar_data(URLs.IMAGENETTE_160), n_workers=2, cache=True, **{k: v for k,v in kwargs.items() if k!='draft'})
        for ds in (loaders[arm].train_ds, loaders[arm].valid_ds): ds.draft = draft
    runs = {o: [] for o in plan['arms']}
    for seed in range(args.seeds):
        for arm,dls in loaders.items():
            history = train(seed, plan['epochs'], dls)
            runs[arm].append({k: round(history[-1][k], 4) for k in ('train_loss', 'train_accuracy', 'valid_loss', 'valid_accuracy')})
            print(f"seed {seed}, {arm:20} {100*history[-1]['valid_accuracy']:.1f} % valid, {100*history[-1]['train_accuracy']:.1f} % train, "
                  f"{sum(o['time'] for o in history):.0f} s", flush=True)
    for dls in loaders.values(): dls.close()
    first = None
    for arm in plan['arms']:
        xs = [100*o['valid_accuracy'] for o in runs[arm]]
        first = first or xs
        gaps = [b-a for a,b in zip(first, xs)]
        print(f'{arm:20} {statistics.mean(xs):.2f} ± {statistics.stdev(xs):.2f}; against the first, in pairs: {statistics.mean(gaps):+.2f} ± {statistics.stdev(gaps):.2f}')
    res = json.loads(results.read_text()) if results.exists() else {}
    res[args.experiment] = dict(epochs=plan['epochs'], runs=runs, torch=torch.__version__, date=time.strftime('%Y-%m-%d'))
    results.write_text(json.dumps(res, indent=1)+'\n')

if __name__=='__main__': main()
