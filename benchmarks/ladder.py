"""What each recipe reaches: trainings by the command, each in a process of its own.

    python benchmarks/ladder.py                            # every rung of the ladder, seeds 0, 1 and 2
    python benchmarks/ladder.py flip best --seeds 8        # some recipes, more seeds
    python benchmarks/ladder.py --threads 1                # not for times; two of these run side by side

A row is `scratch_train --data imagenette --cache --recipe NAME --seed SEED`; its seconds are all that the command
took after finding the files: starting workers, decoding, training, validation after each epoch. `reference_steps` is the
same in steps of benchmarks/reference.py, measured before and after it. `tta_accuracy` is that of the mean of each picture's
prediction and its mirror image's, computed from the exported model afterwards, in no time that counts. Rows are written to
benchmarks/ladder.json as they come; those that are there already are not run again. Run it on an idle machine."""
import argparse, csv, json, os, subprocess, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
from machine import facts, load
from reference import reference_ms

results = Path(__file__).with_suffix('.json')

def train(recipe, seed, threads):
    "One training; returns its row"
    load_before,before = load(),reference_ms()
    with TemporaryDirectory() as tmp:
        out = Path(tmp)/'run'
        env = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'OMP_WAIT_POLICY': 'PASSIVE'}
        command = Path(sys.executable).parent/'scratch_train'
        args = ['--data', 'imagenette', '--cache', '--recipe', recipe, '--seed', str(seed), '--out', str(out)]
        res = subprocess.run([command, *args], env=env, capture_output=True, text=True)
        if res.returncode: raise SystemExit(res.stderr[-2000:])
        history = list(csv.DictReader((out/'history.csv').open()))
        settings = json.loads((out/'settings.json').read_text())
        mirrored = tta(out/'model.safetensors')
    after = reference_ms()
    last = {k: round(float(v), 4) for k,v in history[-1].items() if k not in ('epoch', 'time')}
    return dict(recipe=recipe, seed=seed, threads=threads, seconds=settings['seconds'], epochs=settings['epochs'], **last, tta_accuracy=mirrored,
                reference_ms=[before, after], reference_steps=round(settings['seconds']/(before+after)*2e3), machine=facts(load_before=load_before))

def tta(file):
    "The accuracy of the exported model with mirror images"
    import torch
    from learner_scratch.all import DataLoaders, URLs, untar_data
    from learner_scratch.use.export import load_learner
    learn,right,n = load_learner(file, 'cpu'),0,0
    tfm_x = next(cb.tfm_x for cb in learn.cbs if hasattr(cb, 'tfm_x'))
    valid = DataLoaders.from_folder(untar_data(URLs.IMAGENETTE_160), n_workers=2).valid
    with torch.no_grad():
        for xb,yb in valid:
            x = tfm_x(xb)
            probs = sum(learn.model.eval()(o).softmax(-1) for o in (x, x.flip(3)))
            right += (probs.argmax(-1)==yb).sum().item()
            n += len(yb)
    valid.close()
    return round(right/n, 4)

def rows(): return json.loads(results.read_text())['rows'] if results.exists() else []

def keep(row):
    import torch
    kept = [o for o in rows() if (o['recipe'], o['seed'], o['threads'])!=(row['recipe'], row['seed'], row['threads'])]
    text = ',\n  '.join(json.dumps(o) for o in [*kept, row])
    results.write_text(f'{{"torch": "{torch.__version__}", "date": "{time.strftime("%Y-%m-%d")}", "rows": [\n  {text}]}}\n')

def main():
    from learner_scratch.research.ladder import ladder
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('recipes', nargs='*', default=list(ladder))
    parser.add_argument('--first', type=int, default=0, help='first seed')
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    for seed in range(args.first, args.first+args.seeds):
        for recipe in args.recipes:
            if any((o['recipe'], o['seed'], o['threads'])==(recipe, seed, args.threads) for o in rows()): continue
            row = train(recipe, seed, args.threads)
            keep(row)
            print(f"{recipe:16} seed {seed}: {100*row['valid_accuracy']:.1f} % (mirrored too {100*row['tta_accuracy']:.1f}), "
                  f"{row['seconds']:.0f} s, {row['reference_steps']} reference steps", flush=True)

if __name__=='__main__': main()
